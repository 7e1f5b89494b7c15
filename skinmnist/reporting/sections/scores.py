"""The figures of the scores: each function takes frames and returns a matplotlib figure.

A colour stands for a model and a marker for a sampler, all over the page. Sizes are CSS pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from skinmnist.reporting.format import fixed, shorten
from skinmnist.reporting.theme import (
    HEAT,
    INK,
    LINE,
    MARKERS,
    MUTED,
    ON_HEAT,
    SERIES,
    panels,
    styled,
    text_width,
)

WIDE, NARROW, MULTIPLE = 860, 360, 272
#: The matrix of more classes than these has room for shades only.
_NUMBERED_CLASSES = 12
_NAMED_CLASSES = 30
#: From this share on, a number is printed in the light colour.
DARK_SHARE = 0.65


def model_colour(models: Sequence[str], model: str) -> str:
    """Return the colour of a model, by its place in the grid."""
    return SERIES[list(models).index(model) % len(SERIES)]


def marker_style(samplers: Sequence[str], sampler: str, colour: str, size: float = 7) -> dict[str, Any]:
    """Return how a sampler is marked: ``none`` hollow, the others filled."""
    others = [name for name in samplers if name != "none"]
    place = 0 if sampler == "none" else 1 + others.index(sampler) % (len(MARKERS) - 1)
    face = "none" if sampler == "none" else colour
    return {
        "marker": MARKERS[place],
        "markersize": size,
        "markeredgecolor": colour,
        "markerfacecolor": face,
        "markeredgewidth": 1.6,
        "linestyle": "none",
    }


@styled
def leaderboard_figure(
    board: pd.DataFrame,
    folds: pd.DataFrame,
    samplers: Sequence[str],
    models: Sequence[str],
    narrow: bool = False,
) -> Figure:
    """Draw macro-F1 of every pair: small dots for folds, a large one for the mean, a bar for the spread.

    Parameters
    ----------
    board : DataFrame
        Of `tables.leaderboard`.
    folds : DataFrame
        Of `tables.fold_scores` for macro-F1.
    samplers, models : sequence of str
        Names of the grid, which give markers and colours.
    narrow : bool
        For a phone: names above the marks instead of beside them.
    """
    pairs = board[~board["reference"]]
    sampler_names = [shorten(title, 34) for title in pairs["sampler_title"]]
    model_names = [shorten(title, 54) for title in pairs["model_title"]]
    left = 14 if narrow else 26 + max((text_width(name) for name in sampler_names + model_names), default=80)
    step = 46 if narrow else 38
    height = step * len(pairs) + 76
    figure, (axes,) = panels(NARROW if narrow else WIDE, height, (left, 16, 28, 48))
    transform = axes.get_yaxis_transform()
    for place, row in enumerate(pairs.to_dict("records")):
        y = len(pairs) - 1 - place
        colour = model_colour(models, row["model"])
        values = folds.loc[(folds["sampler"] == row["sampler"]) & (folds["model"] == row["model"]), "value"]
        if place:
            axes.axhline(y + 0.5, color=LINE, linewidth=0.8)
        centre = y - 0.2 if narrow else y
        mean, spread = row["macro_f1"], row["macro_f1_sd"]
        if not np.isnan(spread):
            ends = [mean - spread, mean + spread]
            axes.plot(ends, [centre, centre], color=colour, linewidth=9, alpha=0.22, solid_capstyle="butt")
        axes.plot(values, np.full(len(values), centre), "o", color=colour, markersize=4.2, mew=0)
        style = marker_style(samplers, row["sampler"], colour, 10.5)
        if row["sampler"] == "none":
            style["markerfacecolor"] = ON_HEAT
        axes.plot([mean], [centre], **style)
        if narrow:
            label = shorten(f"{sampler_names[place]} · {model_names[place]}", 56)
            axes.text(0, y + 0.24, label, transform=transform, fontsize=10.5, va="center")
        else:
            x = -12 / (WIDE - left - 16)
            axes.text(x, y + 0.18, sampler_names[place], transform=transform, ha="right", va="center")
            axes.text(
                x,
                y - 0.22,
                model_names[place],
                transform=transform,
                ha="right",
                va="center",
                color=MUTED,
                fontsize=10,
            )
    axes.set_ylim(-0.5, max(len(pairs), 1) - 0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _pad_limits(axes, [*folds["value"], *board["macro_f1"]])
    axes.set_xlabel("macro-F1 on held-out pictures")
    for line in board[board["reference"]].to_dict("records"):
        dashes: dict[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": (0, (4, 3))}
        if narrow:  # The line leaves out the names.
            centres = np.arange(len(pairs)) - 0.2
            axes.vlines(np.full(len(pairs), line["macro_f1"]), centres - 0.26, centres + 0.26, **dashes)
        else:
            axes.axvline(line["macro_f1"], **dashes)
        label = f"{shorten(line['model'], 24)} {fixed(line['macro_f1'])}"
        axes.annotate(
            label,
            (line["macro_f1"], 1),
            (0, 6),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
        )
    return figure


def _pad_limits(axes: Axes, values: Sequence[float]) -> None:
    finite = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    pad = max(0.04 * (high - low), 0.01)
    axes.set_xlim(low - pad, high + pad)
    axes.locator_params(axis="x", nbins=7)
    axes.grid(axis="x")


@styled
def recall_figure(
    recalls: pd.DataFrame, class_names: Sequence[str], samplers: Sequence[str], colour: str
) -> Figure:
    """Draw the recall of every class under each sampler, for one model.

    Parameters
    ----------
    recalls : DataFrame
        The rows of `tables.recalls` of one model.
    class_names, samplers : sequence of str
    colour : str
        The model's.
    """
    names = [shorten(name, 14) for name in class_names]
    left = 18 + max(text_width(name) for name in names)
    shown = [name for name in samplers if name in set(recalls["sampler"])]
    legend_rows = -(-len(shown) // 2)
    height = 24 * len(names) + 56 + 17 * legend_rows
    figure, (axes,) = panels(MULTIPLE, height, (left, 14, 8, 48 + 17 * legend_rows))
    places = {name: len(names) - 1 - code for code, name in enumerate(class_names)}
    for name, of_class in recalls.groupby("class", sort=False):
        y = places[str(name)]
        axes.plot([of_class["mean"].min(), of_class["mean"].max()], [y, y], color=LINE, linewidth=3)
    for sampler in shown:
        rows = recalls[recalls["sampler"] == sampler]
        style = marker_style(samplers, sampler, colour, 7)
        axes.plot(rows["mean"], [places[name] for name in rows["class"]], **style, alpha=0.9)
    axes.set_yticks(range(len(names)), names[::-1])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(-0.03, 1.03)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("recall, mean over folds")
    sampler_legend(figure, shown, samplers, colour)
    return figure


def sampler_legend(
    figure: Figure,
    shown: Sequence[str],
    samplers: Sequence[str],
    colour: str,
    more: Sequence[Line2D] = (),
) -> None:
    """Explain the markers of the samplers, and `more`, below the axes."""
    handles = [
        Line2D([], [], label=shorten(sampler, 22), **marker_style(samplers, sampler, colour, 7))
        for sampler in shown
    ]
    figure.legend(
        handles=[*handles, *more],
        loc="lower left",
        ncols=2,
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0,
        borderpad=0.2,
    )


@styled
def confusion_figure(counts: pd.DataFrame) -> Figure:
    """Draw a confusion matrix: each row is a true class and sums to 100 per cent.

    Parameters
    ----------
    counts : DataFrame
        Of `tables.confusion`.
    """
    k = len(counts)
    # Names that nobody could read are left out; the order is that of the other tables.
    names = ["" if k > _NAMED_CLASSES else shorten(str(name), 10) for name in counts.index]
    totals = counts.to_numpy(dtype=float).sum(axis=1, keepdims=True)
    shares = np.divide(counts.to_numpy(dtype=float), totals, out=np.zeros((k, k)), where=totals > 0)
    size = 10.5 if k <= 8 else 9 if k <= _NUMBERED_CLASSES else 7
    margin = 26 + max(text_width(name, size) for name in names)
    side = MULTIPLE - margin - 8
    figure, (axes,) = panels(MULTIPLE, side + margin + 8, (margin, 8, 8, margin))
    if k <= _NUMBERED_CLASSES:
        _draw_numbered_boxes(axes, shares, size)
    else:
        pixels = np.full((k, k, 4), to_rgba(SERIES[0]))
        pixels[..., 3] = shares
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
    axes.set_xlim(-0.5, k - 0.5)
    axes.set_ylim(k - 0.5, -0.5)
    axes.set_xticks(range(k), names, rotation=90, fontsize=size)
    axes.set_yticks(range(k), names, fontsize=size)
    axes.tick_params(length=0, pad=3)
    axes.spines[["left", "bottom"]].set_visible(False)
    figure.text(0.5 + (margin - 8) / MULTIPLE / 2, 4 / figure.bbox.height, "named", color=MUTED, ha="center")
    centre = 0.5 + (margin - 8) / figure.bbox.height / 2
    figure.text(13 / MULTIPLE, centre, "true class", color=MUTED, ha="right", va="center", rotation=90)
    return figure


def _draw_numbered_boxes(axes: Axes, shares: npt.NDArray[np.float64], size: float) -> None:
    shown = np.argwhere(shares >= 0.005)
    colours = np.tile(to_rgba(HEAT), (len(shown), 1))
    colours[:, 3] = 0.04 + 0.96 * shares[tuple(shown.T)]
    boxes = [Rectangle((predicted - 0.48, true - 0.48), 0.96, 0.96) for true, predicted in shown]
    axes.add_collection(PatchCollection(boxes, facecolors=colours, linewidths=0), autolim=False)
    for true, predicted in shown:
        share = float(shares[true, predicted])
        ink = ON_HEAT if share > DARK_SHARE else INK
        number = f"{100 * share:.0f}"
        axes.text(predicted, true + 0.02, number, ha="center", va="center", color=ink, fontsize=size)
