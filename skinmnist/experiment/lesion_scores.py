"""Scores by lesion: the probabilities of a lesion's pictures are averaged before the lesion is predicted.

A physician judges lesions, but a table may hold several pictures of one. Their probabilities are averaged
with the arithmetic mean, the *sum rule* (Kittler, Hatef, Duin & Matas, "On combining classifiers", IEEE TPAMI
20, 1998): pictures of one lesion are nearly the same evidence, which the product rule would count several
times, and the sum is the rule least sensitive to errors of single probabilities.

Scores by lesion have the names of scores by picture with the prefix ``lesion_``. They exist if lesions are
known, some have several held-out pictures, and none is held out in several folds. A lesion whose pictures
have different labels has no true class and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.datasets.table import PixelTable
from skinmnist.decisions.probabilities import rounded
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.metrics import (
    METRICS,
    add_scores,
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    score,
)

#: Prefix of the scores by lesion.
LESION = "lesion_"
#: Number of a row that belongs to no lesion.
NO_LESION = -1

_CELL_COLUMNS = list(Cell._fields)
_Codes = npt.NDArray[np.integer]
_Floats = npt.NDArray[np.float64]


def scored_lesions(predictions: pd.DataFrame, lesions: _Codes | None, split: str = "") -> _Codes | None:
    """Return the lesion of each row of a table for scores by lesion, or None if there are no such scores.

    Parameters
    ----------
    predictions : DataFrame
        In the layout of ``predictions.csv.gz``.
    lesions : ndarray of int, optional
        The lesion of each row of the table.
    split : str
        The split of the run; ``"image"`` distributes the pictures of a lesion over folds.

    Returns
    -------
    ndarray of int
        `lesions`, with `NO_LESION` for lesions with several labels.
    """
    if lesions is None or split == "image" or predictions.empty:
        return None
    held_out = predictions[["repeat", "fold", "row", "label"]].drop_duplicates()
    held_out = held_out.assign(lesion=lesions[held_out["row"].to_numpy(dtype=np.int64)])
    if held_out.drop_duplicates(["repeat", "fold", "lesion"]).duplicated(["repeat", "lesion"]).any():
        return None
    if not held_out.duplicated(["repeat", "lesion"]).any():
        return None
    labels = held_out.drop_duplicates(["lesion", "label"])["lesion"]
    several = labels[labels.duplicated()].unique()
    return np.where(np.isin(lesions, several), NO_LESION, lesions)


def note_on_labels(table: PixelTable) -> tuple[str, ...]:
    """Return a note on lesions whose pictures have different labels: at most one sentence."""
    if table.lesion_ids is None:
        return ()
    codes = np.unique(table.lesion_ids, return_inverse=True)[1]
    pairs = np.unique(np.stack([codes, np.asarray(table.labels)], axis=1), axis=0)[:, 0]
    several = np.count_nonzero(np.bincount(pairs) > 1)
    if not several:
        return ()
    return (
        f"{several:,} {'lesion has' if several == 1 else 'lesions have'} pictures with different labels; "
        "scores by lesion leave them out",
    )


def average_lesions(codes: _Codes, probabilities: _Floats) -> tuple[npt.NDArray[np.intp], _Floats]:
    """Average the probabilities of the rows of each lesion.

    Parameters
    ----------
    codes : ndarray of shape (n,), int
        The lesion of each row, or `NO_LESION`.
    probabilities : ndarray of shape (n, k)

    Returns
    -------
    first : ndarray of shape (m,), int
        Position of the first row of each lesion, in ascending order.
    mean : ndarray of shape (m, k)

    Examples
    --------
    >>> codes, probabilities = np.array([5, 2, 5]), np.array([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7]])
    >>> first, mean = average_lesions(codes, probabilities)
    >>> first.tolist(), mean.round(2).tolist()
    ([0, 1], [[0.6, 0.4], [0.5, 0.5]])
    """
    known = np.flatnonzero(codes != NO_LESION)
    order = known[np.argsort(codes[known], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[order], prepend=NO_LESION))
    first = order[starts]
    if not len(first):
        return first, probabilities[:0]
    counts = np.diff(starts, append=len(order))
    # Round, so that averages of equal probabilities stay equal regardless of their number.
    mean = rounded(np.add.reduceat(probabilities[order], starts, axis=0) / counts[:, None])
    in_order = np.argsort(first)
    return first[in_order], mean[in_order]


def lesion_predictions(
    predictions: pd.DataFrame, class_names: Sequence[str], lesions: _Codes
) -> pd.DataFrame:
    """Average the predictions of each lesion in every cell, in the layout of ``predictions.csv.gz``.

    A lesion has the row number of its first picture. `lesions` is the output of `scored_lesions`.
    """
    columns = [f"p_{name}" for name in class_names]
    codes = lesions[predictions["row"].to_numpy(dtype=np.int64)].astype(np.int64)
    cells = predictions.groupby(_CELL_COLUMNS, sort=False).ngroup().to_numpy()
    keys = np.where(codes == NO_LESION, NO_LESION, cells * (int(lesions.max()) + 1) + codes)
    first, mean = average_lesions(keys, predictions[columns].to_numpy(dtype=float))
    averaged = predictions.iloc[first].reset_index(drop=True)
    averaged["predicted"] = mean.argmax(axis=1)
    averaged[columns] = mean
    return averaged


def with_lesion_scores(
    scores: pd.DataFrame, predictions: pd.DataFrame, class_names: Sequence[str], lesions: _Codes | None
) -> pd.DataFrame:
    """Add the scores by lesion of each cell to its scores, in the layout of ``scores.csv``.

    `scores` and `predictions` belong to the same cells, in the same order; `lesions` is the output of
    `scored_lesions`.
    """
    if lesions is None or predictions.empty:
        return scores
    columns = [f"p_{name}" for name in class_names]
    codes, labels = (predictions[name].to_numpy(dtype=np.int64) for name in ("row", "label"))
    codes, probabilities = lesions[codes], predictions[columns].to_numpy(dtype=float)
    records = []
    for cell, rows in predictions.groupby(_CELL_COLUMNS, sort=False).indices.items():
        found = score_lesions(codes[rows], labels[rows], probabilities[rows], class_names)
        records += [(*cast(Cell, cell), name, value) for name, value in found.items()]
    return add_scores(scores, pd.DataFrame.from_records(records, columns=list(scores.columns)))


def score_lesions(
    codes: _Codes,
    labels: npt.NDArray[np.int64],
    probabilities: _Floats,
    class_names: Sequence[str],
    decisions_only: bool = False,
) -> dict[str, float]:
    """Return the scores by lesion of the rows of a cell; precisions are omitted.

    With `decisions_only`, they are restricted to those that depend on the predicted classes alone, which
    take a tenth of the time.
    """
    first, mean = average_lesions(codes, probabilities)
    if not len(first):
        return {}
    own, predicted = labels[first], mean.argmax(axis=1)
    if not decisions_only:
        found = score(own, predicted, mean, class_names)
        wanted = {*METRICS, *(f"recall_{name}" for name in class_names)}
        return {LESION + name: value for name, value in found.items() if name in wanted}
    counts = confusion_matrix(own, predicted, len(class_names))
    found = {
        "accuracy": float(np.trace(counts) / len(first)),
        "balanced_accuracy": float(balanced_accuracy(counts)),
        "macro_f1": float(macro_f1(counts)),
    }
    found |= {
        f"recall_{name}": float(counts[code, code] / counts[code].sum())
        for code, name in enumerate(class_names)
        if counts[code].any()
    }
    return {LESION + name: value for name, value in found.items()}
