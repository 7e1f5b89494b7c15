"""Read the small results of the study from its run folders: scores by cell, subgroups, intervals, parts.

Nothing is computed that a run folder already has. No file holds a prediction or a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from parts import Part

from skinmnist import facts
from skinmnist.analysis.operating_points import operating_points
from skinmnist.analysis.subgroups import SUBGROUP_COLUMNS
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.run_folder.record import RUN_FILE, read_info, read_run
from skinmnist.experiment.run_folder.run_info import RunInfo

#: The committed files.
RESULTS, SUBGROUPS, INTERVALS, PARTS = "results.csv", "subgroups.csv", "intervals.csv", "parts.csv"

_RECALLS = tuple(f"recall_{name}" for name in facts.CLASS_NAMES)
#: The scores by rule and metric, with their digits. A recall is a share of dozens of pictures.
SCORES: dict[tuple[str, str], int] = {
    **{("as_trained", name): 4 for name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")},
    **{("as_trained", name): 3 for name in _RECALLS},
    ("as_trained", "macro_auc"): 5,
    ("natural_prior", "macro_auc"): 5,
    ("natural_prior", "macro_average_precision"): 5,
    **{("natural_prior", name): 4 for name in ("accuracy", "macro_f1", "log_loss", "brier", "ece")},
    ("tuned_macro_f1", "macro_f1"): 4,
    **{("tuned_macro_f1", name): 3 for name in _RECALLS},
    ("tuned_balanced_accuracy", "balanced_accuracy"): 4,
}
_SECONDS = ("resample_seconds", "fit_seconds", "predict_seconds", "shared_seconds")
_KEYS = ["part", *Cell._fields]
#: The subgroup scores that are kept, and the samplers that they are kept for.
_SUBGROUP_METRICS = ("accuracy", "recall_mel")
_SUBGROUP_SAMPLERS = ("none", "tuned_plain", "class_weight", "RandomOverSampler", "SMOTE")


class Collected(NamedTuple):
    """The frames of the committed files."""

    results: pd.DataFrame
    subgroups: pd.DataFrame
    intervals: pd.DataFrame
    parts: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the files; equal frames give equal bytes."""
        names = (RESULTS, SUBGROUPS, INTERVALS, PARTS)
        for name, frame in zip(names, self, strict=True):
            frame.to_csv(folder / name, index=False, lineterminator="\n")


def collect(parts: Sequence[Part], out: Path) -> Collected:
    """Read the parts that have a run folder in `out`, in the order of the plan."""
    pieces = []
    for part in parts:
        record = out / part.name / RUN_FILE
        found = _collected(part, out / part.name, record.stat().st_mtime_ns) if record.is_file() else None
        if found is not None and len(found.results):
            pieces.append(found)
    intervals = [*_KEYS[:3], "metric", "value", "low", "high", "draws"]
    columns = ([*_KEYS, "status", "reason"], ["part", *SUBGROUP_COLUMNS], intervals, ["part"])
    frames = []
    for place, names in enumerate(columns):
        filled = [piece[place] for piece in pieces if len(piece[place])]
        frames.append(pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=names))
    return Collected(*frames)


@cache
def _collected(part: Part, folder: Path, changed: int) -> Collected:
    """Read one run folder, once for each time that its record changes."""
    info = read_info(folder)
    assert info is not None
    return Collected(*(read(part, folder, info) for read in (_cells, _subgroups, _intervals, _part)))


def _cells(part: Part, folder: Path, info: RunInfo) -> pd.DataFrame:
    """Return one row for each cell with an outcome: scores, seconds, status and the reason of a failure."""
    cells = pd.DataFrame(
        [
            (entry.sampler, entry.model, entry.repeat, entry.fold, entry.status, _one_line(entry.reason))
            for entry in part.entries(info)
            if entry.status != "pending"
        ],
        columns=[*Cell._fields, "status", "reason"],
    )
    cells.insert(0, "part", part.name)
    points, timings = _points_and_timings(folder, info)
    for extra in (_scores(points), _timings(timings)):
        cells = cells.merge(extra, on=list(Cell._fields), how="left", validate="one_to_one")
    last = ["status", "reason"]
    return cells[[name for name in cells if name not in last] + last]


def _one_line(reason: str | None) -> str:
    return " ".join((reason or "").split())[:200]


def _points(folder: Path, info: RunInfo) -> pd.DataFrame | None:
    """Read the operating points of a run; None if its analysis does not have all of its finished cells."""
    path = folder / "operating_points.csv"
    if not path.is_file():
        return None
    points = _read(path)
    done = sum(entry.status == "done" for entry in info.cells)
    return points if len(points[list(Cell._fields)].drop_duplicates()) == done else None


def _points_and_timings(folder: Path, info: RunInfo) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the tables of a run; without an analysis, as in the middle of a run, make them from its cells."""
    points = _points(folder, info)
    if points is not None:
        return points, _read(folder / "timings.csv")
    record = read_run(folder)
    return operating_points(record.results, info.table.class_names), record.timings


def _scores(points: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of each cell as text with its digits, in columns named ``rule.metric``."""
    wide = points.pivot_table("value", list(Cell._fields), ["rule", "metric"], sort=False)
    wide = wide.reindex(columns=pd.MultiIndex.from_tuples(SCORES))
    for column, digits in SCORES.items():
        wide[column] = [_short(value, digits) for value in wide[column]]
    wide.columns = [f"{rule}.{metric}" for rule, metric in SCORES]
    return wide.reset_index()


def _timings(timings: pd.DataFrame) -> pd.DataFrame:
    seconds = timings[[*Cell._fields, "rows_resampled", *_SECONDS]]
    return seconds.assign(**{name: [_short(value, 2) for value in seconds[name]] for name in _SECONDS})


def _short(value: float, digits: int) -> str:
    """Return a number without the zeros that say nothing: ``.512``, not ``0.5120``.

    Examples
    --------
    >>> _short(0.51204, 4), _short(1.5, 2), _short(0.0, 2), _short(1480.2, 0), _short(float("nan"), 3)
    ('.512', '1.5', '0', '1480', '')
    """
    if pd.isna(value):
        return ""
    text = f"{value:.{digits}f}"
    if digits:
        text = text.rstrip("0").rstrip(".").removeprefix("0")
    return text if text not in ("", "-0", "-") else "0"


def _subgroups(part: Part, folder: Path, info: RunInfo) -> pd.DataFrame:
    """Return accuracy and melanoma recall by age, sex and site for the main strategies."""
    path = folder / "subgroups.csv"
    if info.table.synthetic or _points(folder, info) is None or not path.is_file():
        return pd.DataFrame()
    rows = _read(path)
    kept = rows["metric"].isin(_SUBGROUP_METRICS) & rows["sampler"].isin(_SUBGROUP_SAMPLERS)
    rows = rows[kept & rows["value"].notna()].copy()
    for name in ("value", "low", "high"):
        rows[name] = [_short(value, 3) for value in rows[name]]
    rows.insert(0, "part", part.name)
    return rows


def _intervals(part: Part, folder: Path, info: RunInfo) -> pd.DataFrame:
    """Return the differences from none on a single test set, with bootstrap intervals over its lesions.

    Other parts have folds to compare.
    """
    path = folder / "difference_intervals.csv"
    if info.protocol.planned_folds > 1 or _points(folder, info) is None or not path.is_file():
        return pd.DataFrame()
    rows = _read(path)
    rows = rows[~rows["metric"].str.startswith("lesion_") & rows["sampler"].isin(part.samplers)].copy()
    for name in ("value", "low", "high"):
        rows[name] = [_short(value, 4) for value in rows[name]]
    rows.insert(0, "part", part.name)
    return rows


def _part(part: Part, folder: Path, info: RunInfo) -> pd.DataFrame:
    """Return one row on a run: its table, protocol, outcome, cost, versions and machine."""
    table, made, (_, timings) = info.table, part.synthetic, _points_and_timings(folder, info)
    entries = part.entries(info)
    timings = timings.merge(pd.DataFrame([entry.cell for entry in entries], columns=list(Cell._fields)))
    own = timings[list(_SECONDS[:3])].to_numpy().sum()
    shared = timings.groupby(["model", "repeat", "fold"])["shared_seconds"].max().sum()
    states = [entry.status for entry in entries]
    height, width, _ = table.shape
    return pd.DataFrame(
        [
            {
                "part": part.name,
                "group": part.group,
                "table": "synthetic" if made else part.table,
                "ratio": made.ratio if made else "",
                "overlap": made.overlap if made else "",
                "pictures": table.rows,
                "lesions": table.lesions,
                "size": f"{height}x{width}",
                "split": info.protocol.split,
                "folds": info.protocol.planned_folds,
                "repeats": part.repeats,
                "seed": info.seed,
                "cells": len(states),
                "done": states.count("done"),
                "failed": states.count("failed"),
                "core_seconds": _short(own + shared, 0),
                "wall_seconds": _short(info.wall_seconds, 0),
                "cores": info.hardware.cores,
                "cpu": info.hardware.cpu,
                "started": info.started[:10],
                "version": info.skinmnist,
                "identity": info.identity[:12],
                "versions": " ".join(f"{name}=={version}" for name, version in info.versions.items()),
            }
        ]
    )


def _read(path: Path) -> pd.DataFrame:
    """Read a table of a run folder; "none" is the name of a sampler, not a missing value."""
    frame = pd.read_csv(path, keep_default_na=False)
    for name in frame.columns.intersection(["value", "low", "high", *_SECONDS]):
        frame[name] = pd.to_numeric(frame[name])
    return frame


def read_collected(folder: Path) -> Collected:
    """Read the committed files."""

    def read(name: str) -> pd.DataFrame:
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} was not found; `python experiments/study/run.py` writes it")
        words = ("part", "group", "table", "sampler", "model", "status", "reason")
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(words, str))
        return frame.fillna({word: "" for word in words if word in frame})

    return Collected(*(read(name) for name in (RESULTS, SUBGROUPS, INTERVALS, PARTS)))


def failures(results: pd.DataFrame) -> Iterator[tuple[str, str, str, str, int]]:
    """Yield part, sampler, model, reason and number of failed cells.

    Reasons that differ in numbers only, such as the rows of a fold, are one; the first is given.
    """
    failed = results[results["status"] == "failed"]
    alike = failed["reason"].str.replace(r"\d+", "0", regex=True)
    for (part, sampler, model, _), rows in failed.groupby(["part", "sampler", "model", alike], sort=False):
        yield str(part), str(sampler), str(model), str(rows["reason"].iloc[0]), len(rows)
