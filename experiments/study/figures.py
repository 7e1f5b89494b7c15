"""The figures of docs/study.md: all methods at once, and synthetic tables by imbalance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from effects import CONTROL, GROUPS, RANKING, TUNED, Question, Study, on_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from skinmnist.analysis.significance import BETTER, EQUAL, UNDECIDED, WORSE
from skinmnist.reporting.theme import INK, LIGHT, LINE, MUTED, SERIES, PageFigure, styled

#: Short names of models on the columns.
SHORT = {
    "logistic_regression": "logistic",
    "LinearDiscriminantAnalysis": "LDA",
    "GaussianNB": "naive Bayes",
    "hist_gradient_boosting": "boosting",
    "random_forest": "forest",
    "random_forest_pixels": "forest, pixels",
    "svm": "SVM",
    "svm_pixels": "SVM, pixels",
    "cnn": "CNN",
    "cnn_tiny": "CNN, tiny",
}
PANELS = (
    (RANKING, "Ranking: macro-AUC\nbeside none"),
    (CONTROL, "Untuned: macro-F1\nbeside tuned_plain"),
    (TUNED, "Both tuned: macro-F1\nbeside tuned_plain"),
)
_GAIN, _LOSS, _EQUAL = LIGHT["blue"], LIGHT["vermillion"], "#e8ebee"
_ROW, _LEFT, _TOP, _BOTTOM, _GAP = 18, 168, 128, 60, 14
#: Widths of a column and of all columns of a panel, at most.
_COLUMN, _PANEL = 40, 300


def figures(study: Study) -> dict[str, Figure]:
    """Return the figures that the finished parts allow, by name of file."""
    made = {}
    groups = [group for group in GROUPS if study.has(group)]
    if groups:
        made["study-methods"] = methods_figure(study, groups)
    if len(set(study.parts.loc[study.parts["group"] == "synthetic", "ratio"])) > 1:
        made["study-imbalance"] = imbalance_figure(study, "synthetic")
    return made


@styled
def methods_figure(study: Study, groups: list[str]) -> Figure:
    """Draw a matrix of methods by models for each question; undecided differences stay without colour."""
    columns = [
        (group, model) for group in groups for model in study.models(group) if _tested(study, group, model)
    ]
    methods = list(dict.fromkeys(name for group in groups for name in study.methods(group)))
    wide = min(len(columns) * _COLUMN, _PANEL)
    width = _LEFT + len(PANELS) * (wide + _GAP)
    height = _TOP + len(methods) * _ROW + _BOTTOM
    figure = PageFigure(figsize=(width / 72, height / 72), dpi=72)
    for number, (question, title) in enumerate(PANELS):
        left = _LEFT + number * (wide + _GAP)
        axes = figure.add_axes((left / width, _BOTTOM / height, wide / width, len(methods) * _ROW / height))
        _matrix(axes, study, question, methods, columns)
        axes.text(
            0, 1 + 84 / (len(methods) * _ROW), title, transform=axes.transAxes, fontsize=11.5, color=INK
        )
        if number == 0:
            axes.set_yticks(range(len(methods)), methods)
    _legend(figure, height)
    return figure


def _tested(study: Study, group: str, model: str) -> bool:
    return bool((study.compare(group, RANKING)["model"] == model).any())


def _matrix(
    axes: Axes, study: Study, question: Question, methods: list[str], columns: list[tuple[str, str]]
) -> None:
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(methods) - 0.5, -0.5))
    axes.set_yticks([])
    names = [SHORT.get(model, model) for _, model in columns]
    axes.set_xticks(range(len(columns)), names, rotation=90, fontsize=9.5)
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    groups = [group for group, _ in columns]
    for group in dict.fromkeys(groups):
        place = np.flatnonzero(np.array(groups) == group)
        words = group.replace("-", "\n").replace("x", " × ")
        axes.text(place.mean(), len(methods) - 0.3, words, ha="center", va="top", fontsize=9, color=MUTED)
        if place[0]:
            axes.axvline(place[0] - 0.5, color=INK, linewidth=1)
    for x, (group, model) in enumerate(columns):
        found = study.compare(group, question)
        own = found[found["model"] == model].set_index("sampler")
        for y, method in enumerate(methods):
            if method in own.index:
                _mark(axes, x, y, own.loc[method])


def _mark(axes: Axes, x: int, y: int, row: pd.Series) -> None:
    """Draw one difference in thousandths: filled if decided, an outline if not, grey if equal."""
    decided = row["verdict"] in (BETTER, WORSE)
    hue = _GAIN if row["difference"] > 0 else _LOSS
    style: dict[str, Any] = {"facecolor": hue, "edgecolor": hue}
    if row["verdict"] == EQUAL:
        style = {"facecolor": _EQUAL, "edgecolor": _EQUAL}
    if row["verdict"] == UNDECIDED:
        style = {"facecolor": "none", "edgecolor": LINE, "linestyle": (0, (2, 2))}
    axes.add_patch(Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, linewidth=0.8, **style))
    thousandths = round(1000 * row["difference"])
    text = "0" if thousandths == 0 else f"{thousandths:+d}".replace("-", "\N{MINUS SIGN}")
    colour, weight = ("white", "bold") if decided else (MUTED, "normal")
    axes.text(x, y, text, ha="center", va="center_baseline", fontsize=7.5, color=colour, fontweight=weight)


def _legend(figure: Figure, height: float) -> None:
    handles = [
        Patch(facecolor=_GAIN, label="better"),
        Patch(facecolor=_LOSS, label="worse"),
        Patch(facecolor=_EQUAL, label="practically equal"),
        Patch(facecolor="none", edgecolor=MUTED, linestyle=(0, (2, 2)), label="undecided"),
    ]
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.005, 2 / height), ncols=4, fontsize=10)
    figure.text(0.995, 10 / height, "differences in thousandths", ha="right", fontsize=10, color=MUTED)


@styled
def imbalance_figure(study: Study, group: str) -> Figure:
    """Draw the change of each method beside none by imbalance, a column for each overlap."""
    parts = study.parts[study.parts["group"] == group]
    overlaps = sorted(parts["overlap"].unique())
    models = study.plain_models(group)
    asked = ((RANKING, "macro-AUC\nbeside none"), (CONTROL, "macro-F1\nbeside tuned_plain"))
    rows = [(model, *question) for question in asked for model in models]
    width, each = 860, 84
    figure = PageFigure(figsize=(width / 72, (each * len(rows) + 70) / 72), dpi=72)
    grid = figure.subplots(len(rows), len(overlaps), sharex=True, sharey="row", squeeze=False)
    methods = study.methods(group)
    for row, (model, question, label) in enumerate(rows):
        for column, overlap in enumerate(overlaps):
            axes = grid[row, column]
            axes.axhline(0, color=MUTED, linewidth=1)
            own = parts[parts["overlap"] == overlap].sort_values("ratio")
            tables = [*zip(own["ratio"], own["part"], strict=True)]
            for place, method in enumerate(methods):
                _line(axes, study.compare(group, question), tables, (model, method), place)
            axes.set_xscale("log")
            axes.set_xticks(sorted(parts["ratio"].unique()))
            axes.set_xticklabels([f"{ratio:g}:1" for ratio in sorted(parts["ratio"].unique())])
            axes.minorticks_off()
            axes.tick_params(labelsize=9)
            axes.grid(axis="y")
            if row == 0:
                axes.set_title(f"overlap {overlap:g}", fontsize=11, color=INK)
            if column == 0:
                axes.set_ylabel(f"{SHORT.get(model, model)}\n{label}", fontsize=8.5)
    handles = [Line2D([], [], color=SERIES[place], label=name) for place, name in enumerate(methods)]
    handles += [
        Line2D([], [], color=MUTED, marker="o", linestyle="none", label="better or worse"),
        Line2D(
            [],
            [],
            color=MUTED,
            marker="o",
            linestyle="none",
            markerfacecolor="white",
            label="equal or undecided",
        ),
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=9.5)
    figure.subplots_adjust(
        left=0.09, right=0.99, top=1 - 30 / (each * len(rows) + 70), bottom=0.08, wspace=0.06
    )
    return figure


def _line(
    axes: Axes,
    found: pd.DataFrame,
    tables: list[tuple[float, str]],
    pair: tuple[str, str],
    place: int,
) -> None:
    """Draw the differences of one method with one model, by imbalance."""
    model, method = pair
    own = found[found["sampler"] == method].set_index("model")
    names = [(ratio, on_table(model, part)) for ratio, part in tables]
    points = [(ratio, own.loc[name]) for ratio, name in names if name in own.index]
    colour = SERIES[place % len(SERIES)]
    ratios, changes = [ratio for ratio, _ in points], [row["difference"] for _, row in points]
    axes.plot(ratios, changes, color=colour, linewidth=1.4)
    for ratio, row in points:
        face = colour if row["verdict"] in (BETTER, WORSE) else "white"
        axes.plot(ratio, row["difference"], "o", markersize=5, color=colour, markerfacecolor=face)
