"""The models' probabilities: ROC curves, precision-recall curves and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.curves import area_under
from skinmnist.analysis.operating_points import ALL_CLASSES
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import (
    Column,
    Row,
    Value,
    count,
    fixed,
    listing,
    model_title,
    percent,
    score_table,
    shorten,
    titled,
)
from skinmnist.reporting.theme import (
    DASHES,
    LIGHT,
    MULTIPLE,
    MUTED,
    Captioned,
    embed_figure,
    marker_style,
    model_colour,
    note,
    panels,
    sampler_legend,
    styled,
)

#: The side of a small panel, in CSS pixels.
SMALL = 206
#: Bins with fewer pictures reflect chance more than confidence.
FEWEST_PICTURES = 20
#: Maximum number of areas that fit next to the lines.
_MOST_AREAS = 5
#: Axes of the curves, as labelled.
_WORDS = {
    "false_positive_rate": "false alarms",
    "true_positive_rate": "found",
    "recall": "found",
    "precision": "precision",
}
_ROC, _PR = ("false_positive_rate", "true_positive_rate"), ("recall", "precision")
#: With more classes than this, only the rarest are drawn.
_MOST_CLASSES = 12


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of these sections."""
    table = titled(analysis.record.info, analysis.calibration)
    table.loc[table["reference"], "model_title"] = "class frequencies"
    columns, rows = score_table(table)
    natural = titled(analysis.record.info, analysis.at_natural_prior)
    natural.loc[natural["reference"], "model_title"] = "class frequencies"
    natural_columns, natural_rows = score_table(natural)
    return {
        "rankings": draw_rankings(analysis),
        "ranking_legend": ranking_legend(analysis),
        "reliability": draw_reliability(analysis),
        "calibration_columns": columns,
        "calibration_rows": rows,
        "natural_columns": natural_columns,
        "natural_rows": natural_rows,
        "conformal": conformal_table(analysis),
    }


@dataclass(frozen=True)
class ConformalTable:
    """The coverage of conformal sets by class, with the size of the sets below it."""

    held: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    in_every_set: str


def conformal_table(analysis: Analysis) -> ConformalTable | None:
    """Format the conformal sets of a run; None if the run does not ask for them."""
    info, found = analysis.record.info, analysis.conformal
    if found is None or not info.conformal:
        return None
    rows = []
    for row in titled(info, found.drop_duplicates(["sampler", "model"])).to_dict("records"):
        own = found[(found["sampler"] == row["sampler"]) & (found["model"] == row["model"])]
        figures = tuple(
            Value(
                fixed(one["coverage"]),
                one["coverage"],
                f"size {fixed(one['mean_size'], 1)}",
                hover=f"{count(one['pictures'], 'picture')}, calibrated on at least "
                f"{count(one['calibration_pictures'], 'picture')} of the class"
                if one["class"] != ALL_CLASSES
                else count(one["pictures"], "picture"),
            )
            for one in own.to_dict("records")
        )
        rows.append(Row(row["sampler_title"], row["model_title"], figures))
    always = list(dict.fromkeys(found.loc[found["in_every_set"].astype(bool), "class"]))
    return ConformalTable(
        in_hundred(info.conformal),
        (
            Column("All pictures", "Share of all held-out pictures whose set holds the right class."),
            *(Column(name, f"Coverage of class {name}.") for name in info.table.class_names),
        ),
        tuple(rows),
        listing([shorten(name, 30) for name in always]),
    )


def in_hundred(alpha: float) -> str:
    """Return in how many of 100 pictures a set holds the right class."""
    return f"{round(100 * (1 - alpha), 6):g}"


def draw_rankings(analysis: Analysis) -> list[Captioned]:
    """Draw ROC and precision-recall curves of each class, one line for the best pair of each model."""
    record, names = analysis.record, analysis.record.info.table.class_names
    counts = analysis.held_out_counts
    titles = record.info.table.class_titles
    rarest = sorted(np.argsort(counts, kind="stable")[:_MOST_CLASSES])
    models = list(record.info.grid.models)
    drawn_models = count(len(analysis.best_pairs), "model")
    roc, precision = analysis.rankings
    drawn = []
    for code in rarest:
        name, share = names[code], counts[code] / max(counts.sum(), 1)
        of_class = roc[roc["class"] == name], precision[precision["class"] == name]
        if of_class[0].empty:
            continue
        both = (
            (roc_figure(of_class[0], models), "ROC curves", of_class[0], _ROC),
            (precision_recall_figure(of_class[1], models, share), "Precision over recall", of_class[1], _PR),
        )
        images = tuple(
            embed_figure(
                figure,
                f"{what} of class {name}, one line for each of {drawn_models}; areas under them: "
                f"{_areas(record.info, lines, columns)}.",
            )
            for figure, what, lines, columns in both
        )
        title = titles.get(name, name)
        detail = f"{'' if title == name else title + ', '}{percent(share)} of the pictures"
        drawn.append(Captioned(name, images, detail))
    return drawn


def _areas(info: RunInfo, lines: pd.DataFrame, columns: tuple[str, str]) -> str:
    return listing(
        [
            f"{model_title(info, str(model))} {fixed(area_under(line, *columns), 2)}"
            for model, line in lines.groupby("model", sort=False)
        ]
    )


@styled
def roc_figure(curves: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Draw the `roc_curves` of one class, one line for each model."""
    figure, (axes,) = panels(SMALL, SMALL, (38, 8, 8, 40))
    axes.plot([0, 1], [0, 1], color=MUTED, **DASHES)
    _draw(axes, curves, models, *_ROC)
    _write_areas(axes, curves, models, _ROC, top=False)
    axes.set(xlabel=_WORDS[_ROC[0]], ylabel=_WORDS[_ROC[1]])
    return figure


@styled
def precision_recall_figure(curves: pd.DataFrame, models: Sequence[str], share: float) -> Figure:
    """Draw the `precision_recall_curves` of one class; its `share` is the precision of random guessing."""
    figure, (axes,) = panels(SMALL, SMALL, (38, 8, 8, 40))
    axes.axhline(share, color=MUTED, **DASHES)
    _draw(axes, curves, models, *_PR)
    _write_areas(axes, curves, models, _PR, top=share < 0.5)
    axes.set(xlabel=_WORDS[_PR[0]], ylabel=_WORDS[_PR[1]])
    return figure


def _draw(axes: Any, curves: pd.DataFrame, models: Sequence[str], x: str, y: str) -> None:
    x_words, y_words = _WORDS[x], _WORDS[y]
    for place, (model, rows) in enumerate(curves.groupby("model", sort=False)):
        across, heights = rows[x].to_numpy(), rows[y].to_numpy()
        # Every other point suffices: the resolution still exceeds the screen's.
        axes.plot(across[::2], heights[::2], color=model_colour(models, str(model)))
        # Values of different lines are apart, so that each can be pointed at.
        for at in range(20 + 8 * (place % 5), len(across) - 1, 60):
            words = f"{y_words} {fixed(heights[at], 2)} at {x_words} {fixed(across[at], 2)}"
            note(axes, across[at], heights[at], f"{model}: {words}")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="both")


def _write_areas(
    axes: Any, curves: pd.DataFrame, models: Sequence[str], columns: tuple[str, str], top: bool
) -> None:
    """Write the first few areas under the curves in the lines' colours, at the upper or lower right."""
    x, y = columns
    areas = [(str(model), area_under(rows, x, y)) for model, rows in curves.groupby("model", sort=False)]
    shown = areas[:_MOST_AREAS]
    for place, (model, area) in enumerate(shown):
        height = 0.98 - 0.105 * place if top else 0.03 + 0.105 * (len(shown) - 1 - place)
        style = {"ha": "right", "va": "top" if top else "bottom", "fontsize": 10, "weight": "bold"}
        text = axes.text(0.98, height, fixed(area, 2), transform=axes.transAxes, **style)
        text.set_color(model_colour(models, model))


def ranking_legend(analysis: Analysis) -> list[tuple[str, str]]:
    """Return the best trained pair of each model, with the CSS variable of its colour."""
    info = analysis.record.info
    models = list(info.grid.models)
    names = {hue: name for name, hue in LIGHT.items()}
    return [
        (f"{row['sampler_title']} with {row['model_title']}", names[model_colour(models, row["model"])])
        for row in titled(info, analysis.best_pairs).to_dict("records")
    ]


def draw_reliability(analysis: Analysis) -> list[Captioned]:
    """Draw confidence against accuracy, one figure for each model."""
    info, bins = analysis.record.info, analysis.reliability
    samplers, models = info.grid.samplers, list(info.grid.models)
    drawn = []
    for model in (name for name in models if name in set(bins["model"])):
        title, of_model = model_title(info, model), bins[bins["model"] == model]
        figure = reliability_of(analysis, model)
        shown = listing([name for name in samplers if name in set(of_model["sampler"])])
        alt = (
            f"Reliability diagram of {title}, with one line for each sampler ({shown}), and below it how "
            "many pictures each bin holds; see the table below."
        )
        drawn.append(Captioned(title, (embed_figure(figure, alt),)))
    return drawn


def reliability_of(analysis: Analysis, model: str, sampler: str | None = None) -> Figure:
    """Draw the `reliability_figure` of a model, for all its samplers or a single sampler."""
    info, bins = analysis.record.info, analysis.reliability
    chosen = (bins["model"] == model) & (True if sampler is None else bins["sampler"] == sampler)
    colour = model_colour(list(info.grid.models), model)
    return reliability_figure(bins[chosen], info.grid.samplers, colour)


@styled
def reliability_figure(bins: pd.DataFrame, samplers: Sequence[str], colour: str) -> Figure:
    """Draw the `reliability_bins` of one model, one line for each sampler."""
    shown = [name for name in samplers if name in set(bins["sampler"])]
    legend = 17 * -(-len(shown) // 2)
    # Below the diagram, show the number of pictures per bin: an erratic line may rest on few pictures.
    figure, (axes,) = panels(MULTIPLE, MULTIPLE + 52 + legend, (44, 12, 10, 100 + legend))
    low = 48 + legend
    below = figure.add_axes(
        (44 / MULTIPLE, low / figure.bbox.height, (MULTIPLE - 56) / MULTIPLE, 40 / figure.bbox.height)
    )
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for sampler in shown:
        rows = bins[bins["sampler"] == sampler]
        style = marker_style(samplers, sampler, colour, 5.5)
        middle = (rows["low"] + rows["high"]) / 2
        share = rows["pictures"] / rows["pictures"].sum()
        below.plot(middle, share, color=colour, linewidth=1, alpha=0.7)
        below.plot(middle, share, **style | {"markersize": 3, "markeredgewidth": 1})
        rows = rows[rows["pictures"] >= FEWEST_PICTURES]
        axes.plot(rows["confidence"], rows["accuracy"], color=colour, linewidth=1.2, alpha=0.7)
        axes.plot(rows["confidence"], rows["accuracy"], **style)
        for row in rows.to_dict("records"):
            words = f"{percent(row['confidence'])} sure, {percent(row['accuracy'])} correct"
            note(
                axes,
                row["confidence"],
                row["accuracy"],
                f"{sampler}: {words}, {count(row['pictures'], 'picture')}",
            )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="share correct")
    axes.tick_params(labelbottom=False)
    axes.grid(axis="both")
    below.set(xlim=(-0.02, 1.02), xlabel="confidence", ylabel="pictures", yticks=[])
    below.set_ylim(bottom=0)
    below.spines["left"].set_visible(False)
    sampler_legend(figure, shown, samplers, colour)
    return figure
