"""The data and the split: class counts, pictures, and the rotation of folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.summaries import LEADERBOARD_METRICS
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import (
    LABELS,
    NOTHING,
    count,
    duration,
    fixed,
    pair_title,
    percent,
    shorten,
)
from skinmnist.reporting.theme import (
    HEAT,
    LINE,
    MUTED,
    NARROW,
    ON_HEAT,
    WIDE,
    Embedded,
    embed_figure,
    embed_strip,
    panels,
    styled,
    text_width,
)

#: With more folds than this, the figure does not draw every fold.
MOST_FOLDS = 10
#: Number of pictures in a strip, limited by the width of a phone.
_STRIP = 6
#: With more classes than this, each class has a single strip.
_MANY_CLASSES = 12


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of these sections."""
    record, table = analysis.record, analysis.record.info.table
    known = classes(record)
    genuine = not table.synthetic and set(table.class_names) == set(facts.CLASS_NAMES)
    return {
        "classes": class_table(known),
        "key_numbers": key_numbers(record),
        "classes_figure": draw_classes(known),
        "pictures": draw_pictures(record),
        "licence": facts.DATA_LICENCE if genuine else "",
        "citation": facts.DATA_CITATION if genuine else "",
        "lesion_fit": record.info.lesion_fit,
        "lesion_fit_share": percent(record.info.lesion_fit.share) if record.info.lesion_fit else "",
        "part_scores": part_scores(analysis),
        "folds_figure": draw_folds(record.info.protocol.folds),
    }


def key_numbers(record: RunRecord) -> list[tuple[str, str]]:
    """Return the key numbers of the run with their names."""
    table, protocol = record.info.table, record.info.protocol
    rows = np.asarray(table.rows_per_class)
    numbers = [(f"{protocol.rows:,}", "pictures")]
    if table.lesions is not None:
        numbers.append(
            (
                f"{table.lesions:,}",
                "lesions" if protocol.rows == table.rows else "lesions in the table",
            )
        )
    numbers += [
        (str(len(rows)), "classes"),
        (f"{rows.max() / max(rows.min(), 1):.0f} : 1", "largest to smallest class"),
        (f"{len(record.results):,} of {len(record.info.cells):,}", "cells finished"),
    ]
    if record.info.wall_seconds is not None:
        numbers.append((duration(record.info.wall_seconds), "wall clock"))
    return numbers


@dataclass(frozen=True)
class PartScores:
    """Scores of the best pair on each held-out set of a given split, as text keyed by the set's name."""

    pair: str
    titles: tuple[str, ...]
    of_part: dict[str, tuple[str, ...]]


def part_scores(analysis: Analysis) -> PartScores | None:
    """Return the scores on every held-out set, averaged over repeats; None if the split is random."""
    info, best = analysis.record.info, analysis.best_pairs
    if info.given is None or best.empty:
        return None
    sampler, model = best.iloc[0][["sampler", "model"]]
    scores = analysis.record.scores
    scores = scores[(scores["sampler"] == sampler) & (scores["model"] == model)]
    wide = scores.pivot_table(index="fold", columns="metric", values="value")
    wide = wide.reindex(index=range(len(info.given.held_out)), columns=list(LEADERBOARD_METRICS))
    texts = {
        part.name: tuple(map(fixed, row))
        for part, row in zip(info.given.held_out, wide.to_numpy(), strict=True)
    }
    return PartScores(
        pair_title(info, sampler, model), tuple(LABELS[name] for name in LEADERBOARD_METRICS), texts
    )


def classes(record: RunRecord) -> pd.DataFrame:
    """Return the data card: ``class, title, rows, share, lesions``; lesions are NaN if unknown."""
    table = record.info.table
    names, rows = table.class_names, np.asarray(table.rows_per_class, dtype=float)
    titles = table.class_titles
    lesions = table.lesions_per_class or [np.nan] * len(names)
    return pd.DataFrame(
        {
            "class": names,
            "title": [titles.get(name, name) for name in names],
            "rows": rows.astype(int),
            "share": rows / rows.sum(),
            "lesions": np.asarray(lesions, dtype=float),
        }
    )


def class_table(classes: pd.DataFrame) -> list[dict[str, str]]:
    """Format the class table of the data card."""
    return [
        {
            "name": row["class"],
            "title": "" if row["title"] == row["class"] else row["title"],
            "rows": f"{row['rows']:,}",
            "lesions": NOTHING if np.isnan(row["lesions"]) else f"{row['lesions']:,.0f}",
            "share": percent(row["share"]),
        }
        for row in classes.to_dict("records")
    ]


def draw_classes(classes: pd.DataFrame) -> Embedded:
    """Draw the class counts."""
    ordered = classes.sort_values("rows", kind="stable")
    smallest, largest = ordered.iloc[0], ordered.iloc[-1]
    alt = (
        f"Bar chart of the pictures of {count(len(classes), 'class', 'classes')}: {largest['class']} has the "
        f"most, {largest['rows']:,} ({percent(largest['share'])}), {smallest['class']} the fewest, "
        f"{smallest['rows']:,} ({percent(smallest['share'])})."
    )
    wide = class_counts_figure(classes)
    return embed_figure(wide, alt, class_counts_figure(classes, narrow=True))


@styled
def class_counts_figure(classes: pd.DataFrame, narrow: bool = False) -> Figure:
    """Draw the share of each class as a bar, in table order."""
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


def draw_pictures(record: RunRecord) -> list[tuple[Embedded, ...]]:
    """Place a few pictures of each class side by side, ordered by class code."""
    drawn = []
    class_names = record.info.table.class_names
    for code, name in enumerate(class_names):
        pictures = record.pictures[record.picture_labels == code]
        if len(class_names) > _MANY_CLASSES:
            pictures = pictures[:_STRIP]
        parts = [pictures[start : start + _STRIP] for start in range(0, len(pictures), _STRIP)]
        words = ("pictures", "more pictures")
        drawn.append(
            tuple(
                embed_strip(part, f"{len(part)} {words[place > 0]} of class {name}")
                for place, part in enumerate(parts)
            )
        )
    return drawn


def draw_folds(n_folds: int) -> Embedded:
    """Draw the rotation of the folds."""
    alt = f"Diagram: {n_folds} trainings, each of which holds out another one of the {n_folds} folds."
    return embed_figure(folds_figure(n_folds), alt)


@styled
def folds_figure(n_folds: int) -> Figure:
    """Draw the rotation of cross-validation: one row for each training run, one block for each fold."""
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
