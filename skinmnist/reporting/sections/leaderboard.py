"""The checks and the leaderboard of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.checks import CHECKS
from skinmnist.analysis.summaries import fold_scores
from skinmnist.experiment.lesion_scores import LESION
from skinmnist.reporting.format import (
    LABELS,
    Column,
    Row,
    count,
    fixed,
    label_in_text,
    listing,
    pair_title,
    score_table,
    shorten,
    signed,
    titled,
    with_spread,
)
from skinmnist.reporting.theme import (
    INK,
    LINE,
    MUTED,
    NARROW,
    ON_HEAT,
    WIDE,
    Embedded,
    embed_figure,
    marker_style,
    model_colour,
    note,
    panels,
    styled,
    text_width,
)
from skinmnist.text import documentation_page


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of these sections."""
    columns, rows = score_rows(analysis)
    return {
        "checks": len(CHECKS),
        "explained": documentation_page("pitfalls/index"),
        "lessons_page": documentation_page("lessons"),
        "concerns": analysis.concerns,
        "columns": columns,
        "rows": rows,
        "has_corrected": bool(analysis.leaderboard["corrected"].any()),
        "leaderboard_figure": draw_leaderboard(analysis),
        "external": external_table(analysis),
    }


@dataclass(frozen=True)
class ExternalTable:
    """The external test as text: a statement about the best pair, and the scores of every pair by metric."""

    name: str
    pictures: str
    sentence: str
    titles: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...]


def external_sentence(analysis: Analysis) -> str:
    """State how far the best pair drops on the external table; empty without an external test."""
    rows, best = analysis.external, analysis.best_pairs
    given = analysis.record.external.info.given if analysis.record.external else None
    if rows.empty or best.empty or given is None:
        return ""
    sampler, model = best.iloc[0][["sampler", "model"]]
    rows = rows[(rows["sampler"] == sampler) & (rows["model"] == model)]
    changes = [
        f"{label_in_text(row['metric'])} {fixed(row['external'])} "
        f"[{fixed(row['low'])}, {fixed(row['high'])}] instead of {fixed(row['value'])}"
        for row in rows[rows["metric"].isin(["macro_f1", "accuracy", "macro_auc"])].to_dict("records")
    ]
    return (
        f"Trained on all of {analysis.record.info.table.name} and tested on {given.name}, "
        f"{pair_title(analysis.record.info, sampler, model)} has {listing(changes)}."
    )


def external_table(analysis: Analysis) -> ExternalTable | None:
    """Format the external test; None if there is no external test."""
    given = analysis.record.external.info.given if analysis.record.external else None
    rows = analysis.external
    if rows.empty or given is None:
        return None
    laid = []
    for row in titled(analysis.record.info, analysis.leaderboard).to_dict("records"):
        own = rows[(rows["sampler"] == row["sampler"]) & (rows["model"] == row["model"])]
        cells = tuple(
            (fixed(one["external"]), f"{fixed(one['low'])}–{fixed(one['high'])}", signed(-one["drop"]))
            for one in own.to_dict("records")
        )
        if cells:
            laid.append((row["sampler_title"], row["model_title"], cells))
    titles = tuple(LABELS[name] for name in dict.fromkeys(rows["metric"]))
    pictures = count(given.held_out[0].pictures, "picture")
    return ExternalTable(given.name, pictures, external_sentence(analysis), titles, tuple(laid))


def score_rows(analysis: Analysis) -> tuple[list[Column], list[Row]]:
    """Format the leaderboard: bootstrap intervals below the scores, spread over folds on hover."""
    board = titled(analysis.record.info, analysis.leaderboard)
    columns, rows = score_table(board, costs=True)
    ends = {
        (row["sampler"], row["model"], LABELS[row["metric"]]): (row["low"], row["high"])
        for row in analysis.intervals.to_dict("records")
        if row["metric"] in LABELS and not np.isnan(row["low"])
    }
    ends_by_lesion = {
        (row["sampler"], row["model"], LABELS[name]): f"by lesion, {fixed(row['low'])}–{fixed(row['high'])}"
        for row in analysis.intervals.to_dict("records")
        if row["metric"].startswith(LESION)
        and (name := row["metric"].removeprefix(LESION)) in LABELS
        and not np.isnan(row["low"])
    }
    finished = []
    for row, pair in zip(rows, board[["sampler", "model"]].itertuples(index=False), strict=True):
        shown = []
        for column, figure in zip(columns, row.figures, strict=True):
            found = ends.get((pair.sampler, pair.model, column.label))
            spread = f"{figure.spread} over folds" if figure.spread else ""
            below = f"{fixed(found[0])}–{fixed(found[1])}" if found else ""
            by_lesion = ends_by_lesion.get((pair.sampler, pair.model, column.label), "")
            shown.append(replace(figure, spread=below, hover=spread, lesion_hover=by_lesion))
        finished.append(replace(row, figures=tuple(shown)))
    return columns, finished


def draw_leaderboard(analysis: Analysis) -> Embedded | None:
    """Draw the leaderboard; return None if no cell is finished."""
    board = _drawn_board(analysis)
    pairs = board[~board["reference"]]
    if pairs.empty:
        return None
    best, worst = pairs.iloc[0], pairs.iloc[-1]
    alt = (
        f"Dot plot of macro-F1 for {count(len(pairs), 'pair')} of sampler and model, one small dot for each "
        f"fold, from {best['sampler_title']} with {best['model_title']} ({fixed(best['macro_f1'])}) down to "
        f"{worst['sampler_title']} with {worst['model_title']} ({fixed(worst['macro_f1'])}); a dashed line "
        "marks the majority baseline. The numbers are in the table."
    )
    return embed_figure(leaderboard_of(analysis), alt, leaderboard_of(analysis, narrow=True))


def leaderboard_of(analysis: Analysis, narrow: bool = False) -> Figure:
    """Draw the `leaderboard_figure` of an analysis."""
    record = analysis.record
    return leaderboard_figure(
        _drawn_board(analysis),
        fold_scores(record, "macro_f1"),
        record.info.grid.samplers,
        list(record.info.grid.models),
        narrow,
    )


def _drawn_board(analysis: Analysis) -> pd.DataFrame:
    board = titled(analysis.record.info, analysis.leaderboard)
    return board[~board["corrected"]].reset_index(drop=True)


@styled
def leaderboard_figure(
    board: pd.DataFrame,
    folds: pd.DataFrame,
    samplers: Sequence[str],
    models: Sequence[str],
    narrow: bool = False,
) -> Figure:
    """Draw the macro-F1 of every pair: small dots for folds, a large dot for the mean, a bar for the spread.

    `board` is the titled leaderboard without prior correction, and `folds` contains the `fold_scores` of
    macro-F1. With `narrow`, for phones, names are above the marks.
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
        for value in values:
            note(axes, value, centre, f"one fold: {fixed(value)}")
        note(axes, mean, centre, f"{row['sampler_title']}, {row['model_title']}: {with_spread(mean, spread)}")
        if narrow:
            label = shorten(f"{sampler_names[place]} · {model_names[place]}", 68)
            size = min(10.5, 10.5 * 56 / len(label))
            axes.text(0, y + 0.24, label, transform=transform, fontsize=size, va="center")
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
    bars = pd.concat(pairs["macro_f1"] + sign * pairs["macro_f1_sd"] for sign in (-1, 1))
    _pad_limits(axes, [*folds["value"], *board["macro_f1"], *bars])
    axes.set_xlabel("macro-F1 on held-out pictures")
    for baseline in board[board["reference"]].to_dict("records"):
        dashes: dict[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": (0, (4, 3))}
        if narrow:  # The baseline does not cross the names.
            centres = np.arange(len(pairs)) - 0.2
            axes.vlines(np.full(len(pairs), baseline["macro_f1"]), centres - 0.26, centres + 0.26, **dashes)
        else:
            axes.axvline(baseline["macro_f1"], **dashes)
        label = f"{shorten(baseline['model'], 24)} {fixed(baseline['macro_f1'])}"
        axes.annotate(
            label,
            (baseline["macro_f1"], 1),
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
