"""Descriptions of leaks, and the record of a demonstration in a run folder.

Sources: Santos et al., IEEE Computational Intelligence Magazine 13(4), 2018, on resampling before the split;
Kapoor & Narayanan, Patterns 4(9), 2023, on leaks in general; Cawley & Talbot, JMLR 11, 2010, on tuning on the
reported data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinmnist.datasets.decoding import decode
from skinmnist.datasets.files import write_atomically
from skinmnist.errors import InputError
from skinmnist.experiment.run_folder.record import csv_bytes, read_columns
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.text import one_line

LEAKS_FILE, LEAKS_FOLDER, _NOTES_FILE = "leaks.csv", "leaks", "leaks.json"
LEAK_COLUMNS = ("leak", "sampler", "model", "metric", "leaky", "honest")
#: The metrics reported for every pair.
LEADING_METRICS = ("macro_f1", "accuracy")


@dataclass(frozen=True)
class Leak:
    """A misleading way to evaluate models: its key in ``leaks.csv``, and the reason why scores rise."""

    key: str
    title: str
    wrong: str
    right: str
    why: str


#: The leaks, in display order.
LEAKS = [
    Leak(
        key="resampling_before_the_split",
        title="Resampling before the split",
        wrong="All pictures are resampled to equal classes before they are split into training and test.",
        right="The sampler works inside each fold, only on the training pictures; the test stays as it is.",
        why="Copies or blends of a picture are on both sides. The model recognizes pictures of rare classes "
        "instead of the classes, and the test is no longer imbalanced.",
    ),
    Leak(
        key="lesions_in_both_folds",
        title="Pictures of one lesion in both folds",
        wrong="Pictures are split into folds one by one.",
        right="All pictures of a lesion stay in one fold.",
        why="The model answers from memory when it was trained on another picture of the same lesion.",
    ),
    Leak(
        key="tuning_on_the_test_fold",
        title="Tuning on the test fold",
        wrong="Several settings or seeds are tried on the held-out fold, and the best result is reported.",
        right="The setting is chosen on a fold of the training lesions; its result on the same held-out "
        "fold is reported.",
        why="The best of several results is partly due to luck, because the fold took part in the choice.",
    ),
]


@dataclass(frozen=True, eq=False)
class Demonstration:
    """The result of a demonstration of leaks.

    Attributes
    ----------
    scores : DataFrame
        One row for each leak, sampler, model and leaderboard metric, with the columns `LEAK_COLUMNS`.
    notes : tuple of str
        Sentences on anything omitted.
    titles : mapping of str to str
        Titles of the models.

    See Also
    --------
    demonstrate_leaks : Run a demonstration.

    Examples
    --------
    >>> from skinmnist import Demonstration
    >>> row = ("lesions_in_both_folds", "none", "svm", "macro_f1", 0.5, 0.25)
    >>> shown = Demonstration(pd.DataFrame([row], columns=LEAK_COLUMNS), notes=(), titles={"svm": "SVM"})
    >>> (shown.scores["leaky"] - shown.scores["honest"]).item()
    0.25
    """

    scores: pd.DataFrame
    notes: tuple[str, ...]
    titles: Mapping[str, str]


@dataclass(frozen=True)
class _Notes:
    """The data stored with the scores: the identity of the run, notes and titles."""

    protocol: Mapping[str, Any]
    notes: tuple[str, ...]
    titles: Mapping[str, str]


def read_leaks(folder: Path, info: RunInfo) -> Demonstration | None:
    """Read the demonstration in a run folder; None if it has other data, folds or seed, or does not exist."""
    notes, scores = folder / LEAKS_FOLDER / _NOTES_FILE, folder / LEAKS_FILE
    if not (notes.is_file() and scores.is_file()):
        return None
    try:
        stored = decode(_Notes, json.loads(notes.read_text(encoding="utf-8")))
        if stored.protocol != _common(asdict(info.protocol)):
            return None
        return Demonstration(_read_scores(scores), stored.notes, stored.titles)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"the leaks in {folder} are damaged ({one_line(str(error))}); run --demonstrate-leaks again, or "
            f"delete {scores}"
        ) from None


def _read_scores(path: Path) -> pd.DataFrame:
    """Read and validate ``leaks.csv``: known leaks, finite unique scores, leading scores for every pair."""
    frame = read_columns(path, dict.fromkeys(LEAK_COLUMNS[:4], str) | dict.fromkeys(LEAK_COLUMNS[4:], float))
    keys = list(LEAK_COLUMNS[:3])
    if (
        not frame["leak"].isin([leak.key for leak in LEAKS]).all()
        or not np.isfinite(frame[["leaky", "honest"]].to_numpy()).all()
    ):
        raise ValueError("it names an unknown leak, or a score that is not a number")
    leading = frame[frame["metric"].isin(LEADING_METRICS)].groupby(keys).size()
    if frame.duplicated([*keys, "metric"]).any() or (
        len(leading) != len(frame[keys].drop_duplicates()) or (leading != len(LEADING_METRICS)).any()
    ):
        raise ValueError(f"expected {' and '.join(LEADING_METRICS)} of every pair, each once")
    return frame


def write_leaks(folder: Path, protocol: Mapping[str, Any], shown: Demonstration) -> None:
    """Write a demonstration to a folder, with the protocol that a run must share to display it."""
    stored = {"protocol": _common(protocol), "notes": list(shown.notes), "titles": dict(shown.titles)}
    write_atomically(folder / LEAKS_FOLDER / _NOTES_FILE, (json.dumps(stored, indent=1) + "\n").encode())
    write_atomically(folder / LEAKS_FILE, csv_bytes(shown.scores))


def _common(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a run and its demonstration must share, whatever the split of the run."""
    return {name: protocol[name] for name in ("data", "folds", "seed", "rows")}
