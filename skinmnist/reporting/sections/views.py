"""What the template prints: numbers already written as text, and sentences that follow from the record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinmnist import facts
from skinmnist.experiment.metrics import LOWER_IS_BETTER, METRIC_TITLES
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import (
    NOTHING,
    count,
    duration,
    fixed,
    model_title,
    percent,
    sampler_title,
    with_spread,
)

LABELS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro-F1",
    "macro_auc": "Macro-AUC",
    "macro_average_precision": "Macro average precision",
    "mcc": "Matthews correlation",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "Calibration error",
    f"recall_{facts.MELANOMA}": "Melanoma recall",
    "seconds": "Seconds per fold",
    "megabytes": "Memory, MB",
}
HINTS = {
    **METRIC_TITLES,
    f"recall_{facts.MELANOMA}": "Share of the melanoma pictures that are named melanoma.",
    "seconds": "Resampling, fitting and predicting, wall clock, mean over folds; lower is better.",
    "megabytes": "Largest resident memory of the process that trained a fold; lower is better.",
}


def label_in_text(metric: str) -> str:
    """Return the label of a metric as it stands within a sentence."""
    label = LABELS[metric]
    return label if metric == "brier" else label[0].lower() + label[1:]


@dataclass(frozen=True)
class Figure:
    """A number of a table as text; `value` is what it sorts by, `hover` what the pointer brings up."""

    text: str
    value: float
    spread: str = ""
    best: bool = False
    hover: str = ""


@dataclass(frozen=True)
class Row:
    """A pair of sampler and model, or the line to beat, or a control, with its numbers."""

    sampler: str
    model: str
    figures: tuple[Figure, ...]
    reference: bool = False
    remark: str = ""
    derived: bool = False


@dataclass(frozen=True)
class Column:
    """A heading with its explanation."""

    label: str
    hint: str


def score_table(board: pd.DataFrame, costs: bool = False) -> tuple[list[Column], list[Row]]:
    """Lay out a frame of `tables.leaderboard` or `tables.calibration`; the best of each column is marked.

    The line to beat and the control are no rivals: neither was trained for its place.
    """
    metrics = [name for name in board.columns if f"{name}_sd" in board.columns]
    pairs = ~(board["reference"] | board["derived"]).to_numpy(dtype=bool)
    texts: dict[str, list[Figure]] = {}
    for metric in metrics:
        means, spreads = board[metric].to_numpy(dtype=float), board[f"{metric}_sd"].to_numpy(dtype=float)
        best = _best(means, pairs, metric in LOWER_IS_BETTER, 3)
        texts[metric] = [
            Figure(fixed(mean), mean, "" if np.isnan(spread) else f"± {fixed(spread)}", bool(is_best))
            for mean, spread, is_best in zip(means, spreads, best, strict=True)
        ]
    for name, digits in (("seconds", 1), ("megabytes", 0)) if costs else ():
        values = board[name].to_numpy(dtype=float)
        best = _best(values, pairs, True, digits)
        texts[name] = [
            Figure(NOTHING if np.isnan(value) else f"{value:,.{digits}f}", value, "", bool(is_best))
            for value, is_best in zip(values, best, strict=True)
        ]
    rows = []
    for place, row in enumerate(board.to_dict("records")):
        partial = row["cells"] < row["planned"]
        rows.append(
            Row(
                sampler=row["sampler_title"],
                model=row["model_title"],
                figures=tuple(column[place] for column in texts.values()),
                reference=bool(row["reference"]),
                remark=f"{row['cells']} of {row['planned']} folds finished" if partial else "",
                derived=bool(row["derived"]),
            )
        )
    return [Column(LABELS[name], HINTS[name]) for name in texts], rows


def _best(values: np.ndarray, eligible: np.ndarray, lowest: bool, digits: int) -> np.ndarray:
    """Mark the best as printed, so that equal figures are marked alike; nothing where there is no rival."""
    rounded = np.where(eligible, np.round(values, digits), np.nan)
    if np.count_nonzero(~np.isnan(rounded)) < 2:
        return np.zeros(len(values), dtype=bool)
    return np.asarray(rounded == (np.nanmin(rounded) if lowest else np.nanmax(rounded)))


def recall_table(record: RunRecord, recalls: pd.DataFrame) -> list[Row]:
    """Lay out the recall of every class, pairs in the order of the grid."""
    rows = []
    for (sampler, model), of_pair in recalls.groupby(["sampler", "model"], sort=False):
        by_class = of_pair.set_index("class")[["mean", "sd"]].reindex(list(record.info.table.class_names))
        figures = [
            Figure(fixed(mean, 2), mean, with_spread(mean, spread))
            for mean, spread in by_class.to_numpy(dtype=float).tolist()
        ]
        title = sampler_title(record.info, str(sampler), str(model))
        rows.append(Row(title, model_title(record.info, str(model)), tuple(figures)))
    return rows


def key_numbers(record: RunRecord) -> list[tuple[str, str]]:
    """Return the numbers that a reader wants first, each with its name."""
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


def class_table(classes: pd.DataFrame) -> list[dict[str, str]]:
    """Lay out the data card's table of classes."""
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


def failed_cells(record: RunRecord) -> list[dict[str, str]]:
    """List the failed cells, those of one pair and one reason together."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for failure in record.failures:
        cell = failure.cell
        place = f"fold {cell.fold + 1}" + (f" of repeat {cell.repeat + 1}" if record.info.repeats > 1 else "")
        together.setdefault((cell.sampler, cell.model, failure.reason), []).append(place)
    return [
        {
            "pair": f"{sampler_title(record.info, sampler, model)} with {model_title(record.info, model)}",
            "places": ", ".join(places),
            "reason": reason,
        }
        for (sampler, model, reason), places in together.items()
    ]


def pending_cells(record: RunRecord) -> list[str]:
    """Name the pairs with cells that were not run yet, with how many."""
    waiting: dict[tuple[str, str], int] = {}
    for entry in record.info.cells:
        if entry.status == "pending":
            key = (entry.sampler, entry.model)
            waiting[key] = waiting.get(key, 0) + 1
    return [
        f"{sampler_title(record.info, sampler, model)} with {model_title(record.info, model)} "
        f"({count(number, 'cell')})"
        for (sampler, model), number in waiting.items()
    ]


def machine(info: RunInfo) -> list[tuple[str, str]]:
    """Return what the run ran on and what it cost, as far as the record tells."""
    hardware = info.hardware
    entries = [("Started", info.started.replace("T", " "))]
    if info.wall_seconds is not None:
        entries.append(("Wall clock", duration(info.wall_seconds)))
    if info.jobs is not None:
        entries.append(("Worker processes", str(info.jobs)))
    if info.peak_memory_mb is not None:
        measure = info.memory_measure
        entries.append(
            ("Peak memory", f"{info.peak_memory_mb:,.0f} MB" + (f" ({measure})" if measure else ""))
        )
    if hardware.cores:
        entries.append(("Processor", f"{hardware.cpu}, {count(hardware.cores, 'core')}"))
    if hardware.memory_gb:
        entries.append(("Memory", f"{hardware.memory_gb:.1f} GB"))
    if hardware.network_precision:
        entries.append(("Networks compute in", hardware.network_precision))
    entries.append(("System", hardware.system))
    return [(name, text) for name, text in entries if text]
