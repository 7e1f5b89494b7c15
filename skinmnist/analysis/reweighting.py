"""Scores of one cell under many weightings of its rows at once, by products of sparse matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: The scores that can be reweighted, in the order of the columns; the recall of one class can join them.
REWEIGHTED_METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc")


@dataclass(frozen=True, eq=False)
class Ranking:
    """What the area under one ROC curve needs to know, one row for each score that a positive has.

    Attributes
    ----------
    steps : sparse array of shape (g, units)
        Times the weights: by how much the weighted midrank grows from one such score to the next.
    positives : sparse array of shape (g, units)
        Times the weights: the weight of the positives at each such score.
    """

    steps: Any
    positives: Any


@dataclass(frozen=True, eq=False)
class CellSums:
    """The held-out rows of a cell, summed over units (lesions, say) that are weighted as one.

    Attributes
    ----------
    confusion : sparse array of shape (k * k, units)
        Rows of each unit by true class and predicted class.
    rankings : tuple of Ranking
        One for each class that has both sides.
    n_classes : int
    """

    confusion: Any
    rankings: tuple[Ranking, ...]
    n_classes: int


def sum_cell(
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    units: npt.NDArray[np.integer],
    n_units: int,
) -> CellSums:
    """Sum a cell up so that `score_weighted` need not look at its rows again.

    Parameters
    ----------
    labels, predicted : ndarray of shape (m,), int64
    probabilities : ndarray of shape (m, k), float64
    units : ndarray of shape (m,), int
        The unit of each row, 0 to `n_units` - 1.
    n_units : int

    Returns
    -------
    CellSums
    """
    n_classes = probabilities.shape[1]
    ones = np.ones(len(labels), np.float32)
    confusion = _sparse(ones, labels * n_classes + predicted, units, (n_classes**2, n_units))
    truths = [labels == code for code in range(n_classes)]
    rankings = tuple(
        _rank(probabilities[:, code], truth, units, n_units)
        for code, truth in enumerate(truths)
        if truth.any() and not truth.all()
    )
    return CellSums(confusion, rankings, n_classes)


def _rank(
    scores: npt.NDArray[np.float64],
    positive: npt.NDArray[np.bool_],
    units: npt.NDArray[np.integer],
    n_units: int,
) -> Ranking:
    """Sort the rows of a cell once, for all weightings.

    The midrank of a score is the weight of the rows below it and half of that of the rows at it. From one
    score of a positive to the next it grows by half of the rows at each, and by all rows between.
    """
    marks = np.unique(scores[positive])
    place = np.searchsorted(marks, scores)
    at_mark = marks[np.minimum(place, len(marks) - 1)] == scores
    shares = np.where(at_mark, 0.5, 1.0)
    again = at_mark & (place + 1 < len(marks))
    below_last = place < len(marks)
    rows = np.concatenate([place[below_last], place[again] + 1])
    columns = np.concatenate([units[below_last], units[again]])
    values = np.concatenate([shares[below_last], shares[again]])
    shape = (len(marks), n_units)
    ones = np.ones(np.count_nonzero(positive))
    return Ranking(
        steps=_sparse(values, rows, columns, shape),
        positives=_sparse(ones, place[positive], units[positive], shape),
    )


def _sparse(
    values: npt.NDArray[Any], rows: npt.NDArray[Any], columns: npt.NDArray[Any], shape: tuple[int, int]
) -> Any:
    from scipy.sparse import csr_array

    # float32 holds whole and half numbers exactly up to eight million, and is twice as fast.
    return csr_array((values.astype(np.float32), (rows, columns)), shape=shape)


def score_weighted(
    cell: CellSums, weights: npt.NDArray[np.float32], recall_of: int | None = None
) -> npt.NDArray[np.float64]:
    """Score a cell under each weighting.

    Parameters
    ----------
    cell : CellSums
    weights : ndarray of shape (units, draws), float32
        Whole numbers, how often each unit counts, their sum below four million.
    recall_of : int, optional
        A class whose recall is wanted as well.

    Returns
    -------
    ndarray of shape (metrics, draws), float64
        `REWEIGHTED_METRICS`, then the recall. What `metrics.score` gives for a table that holds the rows of
        every unit as often as its weight says; NaN where it would give nothing.
    """
    k = cell.n_classes
    counts = (cell.confusion @ weights).astype(float).reshape(k, k, -1)
    hits, true, told = np.einsum("iid->id", counts), counts.sum(axis=1), counts.sum(axis=0)
    recalls = _ratio(hits, true)
    f1 = _ratio(2 * hits, true + told)
    accuracy = _ratio(hits.sum(axis=0), true.sum(axis=0))
    scores = [_mean_of_known(f1), _mean_of_known(recalls), accuracy, _macro_auc(cell, weights, true)]
    if recall_of is not None:
        scores.append(recalls[recall_of])
    return np.stack(scores)


def _macro_auc(
    cell: CellSums, weights: npt.NDArray[np.float32], true: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weighted Mann-Whitney statistics by sums of ranks, ties counted half; mean over classes."""
    everything = true.sum(axis=0)
    areas = np.full((len(cell.rankings) or 1, weights.shape[1]), np.nan)
    for area, ranking in zip(areas, cell.rankings, strict=False):
        midranks = np.cumsum(ranking.steps @ weights, axis=0)
        positives = ranking.positives @ weights
        weight = positives.sum(axis=0, dtype=float)
        # Among themselves, positives hold half of all their pairs, self included.
        won = np.einsum("gd,gd->d", positives, midranks, dtype=float) - weight**2 / 2
        area[:] = _ratio(won, weight * (everything - weight))
    return _mean_of_known(areas)


def _ratio(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _mean_of_known(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the first axis without NaN; NaN where nothing else is there."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))
