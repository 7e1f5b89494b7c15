"""Resampled class counts, synthetic rows and training curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.summaries import last_of_curves, mean_curve
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import count, fixed, listing, model_title, sampler_title, shorten, space_title
from skinmnist.reporting.theme import (
    HEAT,
    INK,
    MULTIPLE,
    MUTED,
    Captioned,
    embed_figure,
    embed_strip,
    model_colour,
    note,
    panels,
    strips_figure,
    styled,
    text_width,
)

#: A class name and its pictures.
Strip = tuple[str, npt.NDArray[np.uint8]]
#: Maximum number of synthetic rows shown for each sampler.
_MOST_EXAMPLES = 12


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of these sections."""
    return {
        "resampled": draw_resampled(analysis),
        "left_as_they_were": listing(unchanged_rows(analysis.resampled_counts)),
        "examples": draw_examples(analysis.record),
        "curves": draw_curves(analysis),
    }


def draw_resampled(analysis: Analysis) -> list[Captioned]:
    """Draw the class counts before and after every sampler that changes them; equal counts share a figure."""
    counts = analysis.resampled_counts
    counts = counts[~counts["sampler"].isin(unchanged_rows(counts))]
    if counts.empty:
        return []
    most = 1.04 * max(counts["before"].max(), counts["after"].max())
    together: dict[bytes, list[tuple[tuple[str, str], pd.DataFrame]]] = {}
    for (sampler, space), of_sampler in counts.groupby(["sampler", "space"], sort=False):
        values = of_sampler[["before", "after"]].to_numpy().round().tobytes()
        together.setdefault(values, []).append(((str(sampler), str(space)), of_sampler))
    drawn = []
    for alike in together.values():
        titles, of_sampler = _together([pair for pair, _ in alike]), alike[0][1]
        change = f"{of_sampler['before'].sum():,.0f} rows before, {of_sampler['after'].sum():,.0f} after"
        alt = (
            f"Bar chart of training rows by class before and after {titles}: {change}, all classes together."
        )
        image = embed_figure(resampled_figure(of_sampler, most), alt)
        drawn.append(Captioned(titles, (image,), change))
    return drawn


def unchanged_rows(counts: pd.DataFrame) -> list[str]:
    """Return the samplers after which every class has as many training rows as before."""
    moved = (counts["before"].round() != counts["after"].round()).groupby(counts["sampler"], sort=False).any()
    return [str(name) for name in moved.index[~moved.to_numpy(dtype=bool)]]


def _together(pairs: list[tuple[str, str]]) -> str:
    """List samplers without repetition: ``SMOTE on pixels and components``."""
    spaces: dict[str, list[str]] = {}
    for sampler, space in pairs:
        spaces.setdefault(sampler, []).append(space)
    if len(spaces) > 1:
        return listing(list(spaces))
    ((sampler, found),) = spaces.items()
    return space_title(sampler, listing(found))


@styled
def resampled_figure(counts: pd.DataFrame, most: float) -> Figure:
    """Draw the training rows of each class before and after a sampler."""
    names = [shorten(name, 12) for name in counts["class"]]
    left = 16 + max(text_width(name) for name in names)
    figure, (axes,) = panels(MULTIPLE, 30 * len(names) + 66, (left, 22, 8, 58))
    places = np.arange(len(names))[::-1]
    axes.barh(places - 0.19, counts["after"], height=0.34, color=HEAT)
    axes.barh(places + 0.19, counts["before"], height=0.34, color=MUTED, alpha=0.55)
    for place, row in zip(places, counts.to_dict("records"), strict=True):
        for side, shift in (("after", -0.19), ("before", 0.19)):
            note(axes, row[side], place + shift, f"{row['class']}: {count(row[side], 'row')} {side}")
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


def draw_examples(record: RunRecord) -> list[Captioned]:
    """Place synthetic rows between the two rows that each interpolates, for every sampler on pixels."""
    drawn = []
    for _, title, strips in examples(record):
        images = tuple(
            embed_strip(triple, f"A {name} row, the synthetic row of {title}, and its neighbour")
            for name, triple in strips
        )
        drawn.append(Captioned(title, images, labels=tuple(name for name, _ in strips)))
    return drawn


def samples_of(record: RunRecord, sampler: str) -> Figure | None:
    """Draw synthetic rows between the two rows that each interpolates; None if no rows are stored."""
    strips = next((strips for name, _, strips in examples(record) if name == sampler), [])
    return strips_figure(strips) if strips else None


def examples(record: RunRecord) -> list[tuple[str, str, list[Strip]]]:
    """Return synthetic pictures: sampler, title, and strips of row, new row and neighbour."""
    shape, names = tuple(record.info.table.shape), record.info.table.class_names
    found: dict[str, tuple[str, str, list[Strip]]] = {}
    for result in record.results:
        title = sampler_title(record.info, result.cell.sampler, result.cell.model)
        if result.examples is None or title in found or not len(result.examples.labels):
            continue
        shown = result.examples
        triples = np.stack([shown.parents, shown.children, shown.neighbours], axis=1)
        strips = [
            (names[label], triple.reshape(3, *shape))
            for triple, label in zip(triples[:_MOST_EXAMPLES], shown.labels, strict=False)
        ]
        found[title] = (result.cell.sampler, title, strips)
    return list(found.values())


def draw_curves(analysis: Analysis) -> list[Captioned]:
    """Draw the training curves of every pair that recorded them."""
    record, curves = analysis.record, analysis.training_curves.dropna(subset=["loss", "accuracy"])
    if curves.empty:
        return []
    groups = {
        (str(s), str(m)): of_pair for (s, m), of_pair in curves.groupby(["sampler", "model"], sort=False)
    }
    marks = {pair: _held_out(analysis, *pair) for pair in groups}
    highest = max(float(curves["loss"].quantile(0.995)), *(mark["loss"] for mark in marks.values()))
    lowest = min(float(curves["accuracy"].min()), *(mark["accuracy"] for mark in marks.values()))
    limits = {"loss": (0.0, 1.12 * highest), "accuracy": (max(0.0, lowest - 0.05), 1.0)}
    models = list(record.info.grid.models)
    drawn = []
    for (sampler, model), of_pair in groups.items():
        mark = marks[sampler, model]
        titles = sampler_title(record.info, sampler, model), model_title(record.info, model)
        last = last_of_curves(of_pair)
        alt = (
            f"Training curves of {titles[0]} with {titles[1]}: at the end a training loss of "
            f"{fixed(last['loss'])} against {fixed(mark['loss'])} held-out, and a training accuracy of "
            f"{fixed(last['accuracy'])} against {fixed(mark['accuracy'])} held-out."
        )
        colour = model_colour(models, model)
        image = embed_figure(curves_figure(of_pair, mark, colour, limits), alt)
        drawn.append(Captioned(titles[0], (image,), titles[1]))
    return drawn


def _held_out(analysis: Analysis, sampler: str, model: str) -> dict[str, float]:
    """Return the scores of a pair on held-out pictures, keyed like its training curves."""
    means = {}
    for name, metric, board in (
        ("loss", "log_loss", analysis.calibration),
        ("accuracy", "accuracy", analysis.leaderboard),
    ):
        row = board[(board["sampler"] == sampler) & (board["model"] == model)]
        means[name] = float(row[metric].iloc[0])
    return means


@styled
def curves_figure(
    curves: pd.DataFrame,
    held_out: dict[str, float],
    colour: str,
    limits: dict[str, tuple[float, float]],
) -> Figure:
    """Draw the training loss above the training accuracy, for one sampler and one network.

    `curves` are the `training_curves` of one pair; the loss on a validation set, if any, is also drawn.
    `held_out` contains the pair's scores on held-out pictures. All pairs share the vertical `limits`.
    """
    figure, axes = panels(MULTIPLE, 340, (44, 14, 10, 66), rows=2, gap=16)
    validated = bool(curves["validation_loss"].notna().all())
    for place, (axis, name) in enumerate(zip(axes, ("loss", "accuracy"), strict=True)):
        for _, fold in curves.groupby(["repeat", "fold"], sort=False):
            axis.plot(fold["step"], fold[name], color=colour, linewidth=0.8, alpha=0.4)
        steps, mean = mean_curve(curves, name)
        axis.plot(steps, mean, color=colour, linewidth=2.4)
        for at in sorted({len(steps) // 4, len(steps) // 2, 3 * len(steps) // 4, len(steps) - 1}):
            note(axis, steps[at], mean[at], f"training {name} {fixed(mean[at])} at step {steps[at]:,.0f}")
        if validated:
            axis.plot(*mean_curve(curves, f"validation_{name}"), color=colour, linewidth=1.6, linestyle=":")
        # Put the text on the side of the line away from the end of the curve.
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
