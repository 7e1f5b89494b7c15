"""Classes with low recall, and the cost of finding more of the class of interest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import (
    HINTS,
    NOTHING,
    Column,
    Row,
    Value,
    count,
    fixed,
    listing,
    model_title,
    pair_title,
    sampler_title,
    shorten,
    titled,
    with_spread,
)
from skinmnist.reporting.theme import heat_ink

#: Maximum number of classes that a sentence lists.
_MOST_NAMED = 5


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of this section."""
    return {
        "heat_ink": heat_ink,
        "recall_rows": recall_table(analysis.record, analysis.recalls),
        "failing": failing_classes(analysis),
        "interest": cost_of_finding(analysis),
    }


def class_of_interest(analysis: Analysis) -> str:
    """Return melanoma if present, else the rarer of two classes, else the class missed most often."""
    table = analysis.record.info.table
    names, rows = table.class_names, np.asarray(table.rows_per_class)
    if facts.MELANOMA in names:
        return facts.MELANOMA
    if len(names) > 2 and not analysis.best_pairs.empty:
        sampler, model = analysis.best_pairs.iloc[0][["sampler", "model"]]
        own = analysis.recalls
        own = own[(own["sampler"] == sampler) & (own["model"] == model)].dropna(subset=["mean"])
        if len(own):
            return str(own.sort_values("mean", kind="stable")["class"].iloc[0])
    return str(names[int(rows.argmin())])


def class_noun(info: RunInfo, name: str) -> str:
    """Return the noun for pictures of a class within a sentence: ``melanomas``, ``pictures of class df``."""
    return "melanomas" if name == facts.MELANOMA else f"pictures of class {shorten(name, 30)}"


def failing_classes(analysis: Analysis) -> str:
    """State which classes the best pair mostly misses, and which of them all pairs mostly miss."""
    recalls = analysis.recalls.dropna(subset=["mean"])
    if recalls.empty or analysis.best_pairs.empty:
        return ""
    sampler, model = analysis.best_pairs.iloc[0][["sampler", "model"]]
    own = recalls[(recalls["sampler"] == sampler) & (recalls["model"] == model)].sort_values(
        "mean", kind="stable"
    )
    title = pair_title(analysis.record.info, sampler, model)
    low = own[own["mean"] < 0.5]
    if low.empty:
        worst = own.iloc[0]
        least = f"{worst['class']} ({fixed(worst['mean'], 2)})"
        return f"{title} finds at least half of every class, and least of {least}."
    named = [f"{row['class']} ({fixed(row['mean'], 2)})" for row in low.head(_MOST_NAMED).to_dict("records")]
    more = (
        f" and {count(len(low) - _MOST_NAMED, 'more class', 'more classes')}"
        if len(low) > _MOST_NAMED
        else ""
    )
    words = f"{title} finds fewer than half of {', '.join(named) + more if more else listing(named)}."
    highest = recalls.groupby("class")["mean"].max()
    lost = [name for name in low["class"] if highest[name] < 0.5]
    return (
        f"{words} No pair finds half of {listing(lost[:_MOST_NAMED])}."
        if lost and recalls["model"].size > len(own)
        else words
    )


@dataclass(frozen=True)
class CostOfFinding:
    """The cost to each pair of finding more of the class of interest."""

    noun: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def cost_of_finding(analysis: Analysis) -> CostOfFinding:
    """Format recall, false alarms and accuracy of every pair for the class of interest."""
    info, name = analysis.record.info, class_of_interest(analysis)
    code = list(info.table.class_names).index(name)
    board = titled(info, analysis.leaderboard)
    laid = []
    for row in board[~board["reference"] & ~board["corrected"]].to_dict("records"):
        counts = analysis.confusion_counts[row["sampler"], row["model"]]
        found, alarms = int(counts[code, code]), int(counts[:, code].sum() - counts[code, code])
        of_class = int(counts[code].sum())
        share, ratio = (found / of_class if of_class else np.nan), (alarms / found if found else np.nan)
        figures = (
            Value(f"{in_hundred(share)} of 100", share),
            Value(fixed(ratio, 1), ratio),
            Value(fixed(row["accuracy"]), row["accuracy"]),
        )
        laid.append((share, Row(row["sampler_title"], row["model_title"], figures)))
    laid.sort(key=lambda pair: -pair[0] if pair[0] == pair[0] else 1)
    noun = class_noun(info, name)
    columns = (
        Column("Found", f"Of 100 {noun}, how many are found; all folds pooled."),
        Column(
            "False alarms per find",
            "Pictures of other classes predicted as this class, per picture of the class that is found.",
        ),
        Column("Accuracy", HINTS["accuracy"]),
    )
    return CostOfFinding(noun, columns, tuple(row for _, row in laid))


def in_hundred(share: float) -> str:
    """Format a share in hundredths; a dash if it is unknown."""
    return NOTHING if np.isnan(share) else f"{100 * share:.0f}"


def recall_table(record: RunRecord, recalls: pd.DataFrame) -> list[Row]:
    """Format the recall of every class, with pairs in grid order."""
    rows = []
    for (sampler, model), of_pair in recalls.groupby(["sampler", "model"], sort=False):
        by_class = of_pair.set_index("class")[["mean", "sd"]].reindex(list(record.info.table.class_names))
        figures = [
            Value(fixed(mean, 2), mean, with_spread(mean, spread))
            for mean, spread in by_class.to_numpy(dtype=float).tolist()
        ]
        title = sampler_title(record.info, str(sampler), str(model))
        rows.append(Row(title, model_title(record.info, str(model)), tuple(figures)))
    return rows
