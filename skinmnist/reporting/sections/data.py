"""The figures of the data and of the training: class counts, folds, what samplers make, training curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from skinmnist.reporting.format import fixed, percent, shorten
from skinmnist.reporting.sections.scores import MULTIPLE, NARROW, WIDE
from skinmnist.reporting.theme import HEAT, INK, LINE, MUTED, ON_HEAT, panels, styled, text_width

#: More folds than these are not drawn one by one.
MOST_FOLDS = 10


@styled
def class_counts_figure(classes: pd.DataFrame, narrow: bool = False) -> Figure:
    """Draw the share of each class as a bar, in the order of the table.

    Parameters
    ----------
    classes : DataFrame
        Of `tables.classes`.
    narrow : bool
        For a phone.
    """
    names = [shorten(name, 12 if narrow else 24) for name in classes["class"]]
    left = 16 + max(text_width(name) for name in names)
    width = NARROW if narrow else WIDE
    figure, (axes,) = panels(width, 25 * len(names) + 12, (left, 110, 6, 6))
    places = np.arange(len(names))[::-1]
    axes.barh(places, classes["share"], height=0.68, color=HEAT)
    top = classes["share"].max()
    for y, rows, share in zip(places, classes["rows"], classes["share"], strict=True):
        axes.annotate(
            f"{rows:,}  ({percent(share)})", (share, y), (7, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(places, names)
    axes.set_ylim(-0.5, len(names) - 0.5)
    axes.set_xlim(0, top)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_color(MUTED)
    return figure


@styled
def folds_figure(n_folds: int) -> Figure:
    """Draw how cross-validation goes round: one row for each training, one block for each fold."""
    shown = min(n_folds, MOST_FOLDS)
    row = 32
    figure, (axes,) = panels(NARROW, row * shown + 44, (76, 6, 24, 20))
    for training in range(shown):
        for fold in range(shown):
            held_out = training == fold
            hue = HEAT if held_out else LINE
            corner = (fold + 0.03, shown - 1 - training + 0.09)
            axes.add_patch(Rectangle(corner, 0.94, 0.82, facecolor=hue, linewidth=0))
            if held_out:
                words = "held out" if shown <= 5 else "out"
                middle = (fold + 0.5, shown - 0.5 - training)
                axes.text(*middle, words, color=ON_HEAT, ha="center", va="center", fontsize=9.5)
        axes.text(
            -0.12, shown - 0.5 - training, f"training {training + 1}", ha="right", va="center", fontsize=10
        )
    for fold in range(shown):
        name = f"fold {fold + 1}" if shown <= 5 else f"{fold + 1}"
        axes.text(fold + 0.5, shown + 0.18, name, color=MUTED, ha="center", fontsize=10)
    if n_folds > shown:
        axes.text(
            shown / 2, -0.4, f"… and so on, {n_folds} folds in all", color=MUTED, ha="center", fontsize=10
        )
    axes.set(xlim=(0, shown), ylim=(0, shown))
    axes.set_axis_off()
    return figure


@styled
def resampled_figure(counts: pd.DataFrame, most: float) -> Figure:
    """Draw the training rows of each class before and after a sampler.

    Parameters
    ----------
    counts : DataFrame
        The rows of `tables.resampled_counts` of one sampler in one space.
    most : float
        The end of the axis, shared by the figures of all samplers.
    """
    names = [shorten(name, 12) for name in counts["class"]]
    left = 16 + max(text_width(name) for name in names)
    figure, (axes,) = panels(MULTIPLE, 30 * len(names) + 66, (left, 22, 8, 58))
    places = np.arange(len(names))[::-1]
    axes.barh(places - 0.19, counts["after"], height=0.34, color=HEAT)
    axes.barh(places + 0.19, counts["before"], height=0.34, color=MUTED, alpha=0.55)
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(0, most)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("training rows, mean over folds")
    handles = [Patch(color=MUTED, alpha=0.55, label="before"), Patch(color=HEAT, label="after")]
    figure.legend(handles=handles, loc="lower left", ncols=2, handlelength=1, borderaxespad=0, borderpad=0.2)
    return figure


@styled
def curves_figure(
    curves: pd.DataFrame,
    held_out: dict[str, float],
    colour: str,
    limits: dict[str, tuple[float, float]],
) -> Figure:
    """Draw the training loss over the training accuracy of one sampler with one network.

    Parameters
    ----------
    curves : DataFrame
        The rows of `tables.curves` of one pair; where it has a validation set, its mean is drawn as well.
    held_out : dict of str to float
        What the pair reaches on held-out pictures, mean over folds: ``"loss"`` and ``"accuracy"``.
    colour : str
        The model's.
    limits : dict of str to (float, float)
        The vertical axes, shared by the figures of all pairs.
    """
    figure, axes = panels(MULTIPLE, 340, (44, 14, 10, 66), rows=2, gap=16)
    validated = bool(curves["validation_loss"].notna().all())
    for place, (axis, name) in enumerate(zip(axes, ("loss", "accuracy"), strict=True)):
        folds = [fold for _, fold in curves.groupby(["repeat", "fold"], sort=False)]
        for fold in folds:
            axis.plot(fold["step"], fold[name], color=colour, linewidth=0.8, alpha=0.4)
        steps = max((fold["step"].to_numpy() for fold in folds), key=len)
        mean = np.mean([np.interp(steps, fold["step"], fold[name]) for fold in folds], axis=0)
        axis.plot(steps, mean, color=colour, linewidth=2.4)
        if validated:
            seen = [np.interp(steps, fold["step"], fold[f"validation_{name}"]) for fold in folds]
            axis.plot(steps, np.mean(seen, axis=0), color=colour, linewidth=1.6, linestyle=":")
        # The words stand on the side of the line where the curve does not end.
        above = 4 if mean[-1] < held_out[name] else -5
        axis.axhline(held_out[name], color=INK, linewidth=1.3, linestyle=(0, (4, 3)))
        axis.annotate(
            f"held-out {fixed(held_out[name])}",
            (1, held_out[name]),
            (0, above),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="bottom" if above > 0 else "top",
        )
        axis.set_ylim(*limits[name])
        axis.set_ylabel(name)
        axis.grid(axis="y")
        axis.tick_params(labelbottom=place == 1)
        axis.locator_params(nbins=4)
    axes[1].set_xlabel("training step")
    handles = [
        Line2D([], [], color=colour, linewidth=0.8, alpha=0.6, label="a fold"),
        Line2D([], [], color=colour, linewidth=2.4, label="mean"),
        Line2D([], [], color=INK, linewidth=1.3, linestyle=(0, (4, 3)), label="held-out"),
    ]
    if validated:
        handles.append(Line2D([], [], color=colour, linewidth=1.6, linestyle=":", label="validation"))
    figure.legend(
        handles=handles,
        loc="lower left",
        ncols=len(handles),
        handlelength=0.9 if validated else 1.6,
        handletextpad=0.4 if validated else None,
        columnspacing=0.7 if validated else 1.2,
        borderaxespad=0,
        borderpad=0.2,
    )
    return figure
