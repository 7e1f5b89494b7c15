"""Bootstrap intervals of scores over resampled lesions, with cells rescored by sparse matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.significance import Pair
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell

DRAWS = 1000
INTERVAL_COLUMNS = ("sampler", "model", "metric", "value", "low", "high", "draws")
#: The scores that can be reweighted, in column order; the recall of one class can be added.
REWEIGHTED_METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc")
#: Weights in memory at a time: few enough to stay in the processor's cache.
_WEIGHTS = 500_000


@dataclass(frozen=True, eq=False)
class Ranking:
    """The data for the area under one ROC curve, one row for each distinct score of a positive.

    `steps` times the weights (sparse, scores x units) is the increase of the weighted midrank from one such
    score to the next; `positives` times the weights is the weight of the positives at each such score.
    """

    steps: Any
    positives: Any


@dataclass(frozen=True, eq=False)
class CellSums:
    """The held-out rows of a cell, summed over units, such as lesions, that have one weight.

    `confusion` (sparse, k * k x units) counts the rows of each unit by true and predicted class; `rankings`
    has one entry for each class with positives and negatives.
    """

    confusion: Any
    rankings: tuple[Ranking, ...]
    n_classes: int


def bootstrap_scores(
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    lesions: npt.NDArray[np.integer] | None = None,
    draws: int = DRAWS,
    random_state: int = 0,
    recall_of: str = facts.MELANOMA,
) -> dict[Pair, pd.DataFrame]:
    """Score every pair of sampler and model on resampled lesions, with one column per metric for each pair.

    A lesion is drawn with all its pictures, because they are not independent (Field & Welsh, JRSS B 69,
    2007). The trained models are kept; the held-out lesions are resampled (rows, if `lesions`, the lesion of
    each row of the table, is None). Each replicate is scored like the leaderboard: `metrics.score` in every
    held-out fold, then the mean over folds and repeats. (Pooling the folds would rank pictures by scores of
    separately calibrated models.) A replicate uses the same lesions for every fold, repeat and pair, so that
    pairs can be compared replicate by replicate.

    Row 0 holds the scores of the table itself, the other rows those of the replicates. If a fold lacks a
    class in a replicate, the class is left out of the means of that fold, as in `metrics.score`; a score that
    no fold has is NaN. The recall of the class `recall_of` is also scored, if there is such a class.
    """
    units, n_units = _unit_numbers(predictions, lesions)
    melanoma = list(class_names).index(recall_of) if recall_of in class_names else None
    metrics = [*REWEIGHTED_METRICS, *([f"recall_{recall_of}"] if melanoma is not None else [])]
    cells = _sum_cells(predictions, class_names, units, n_units)
    if not cells:
        return {}
    chunks: dict[Pair, list[npt.NDArray[np.float64]]] = {pair: [] for pair in cells}
    for weights in _weights_of_draws(n_units, draws, random_state):
        for pair, sums in cells.items():
            scores = np.stack([score_weighted(cell, weights, melanoma) for cell in sums])
            known = ~np.isnan(scores)
            count = known.sum(axis=0)
            total = np.where(known, scores, 0.0).sum(axis=0)
            chunks[pair].append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return {pair: pd.DataFrame(np.hstack(parts).T, columns=metrics) for pair, parts in chunks.items()}


def intervals(scores: Mapping[Pair, pd.DataFrame], confidence: float = 0.95) -> pd.DataFrame:
    """Summarise `bootstrap_scores`: columns `INTERVAL_COLUMNS`.

    `value` is the score of the table itself. `low` and `high` are percentiles of the replicates, shifted by
    the difference between `value` and their mean; NaN without replicates. `draws` counts the replicates with
    a score.

    Plain percentiles (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993) are too low for macro-F1,
    because a replicate has fewer distinct lesions of a rare class than the fold itself. The replicates show
    this bias, and the shift removes it. ``experiments/benchmarks/interval_coverage.py`` measures how often
    the intervals cover the true score.
    """
    return _summarise(scores, confidence, lowest=0.0)


def difference_intervals(scores: Mapping[Pair, pd.DataFrame]) -> pd.DataFrame:
    """Return `intervals` of the difference between every sampler and ``none`` with the same model.

    Both sides of a replicate use the same lesions, so the interval is narrower than the intervals of the two
    scores suggest.
    """
    gaps = {
        (sampler, model): frame - scores["none", model]
        for (sampler, model), frame in scores.items()
        if sampler != "none" and ("none", model) in scores
    }
    return _summarise(gaps, 0.95, lowest=-1.0)


def _summarise(scores: Mapping[Pair, pd.DataFrame], confidence: float, lowest: float) -> pd.DataFrame:
    """Return values and intervals from the replicates of a score with the range `lowest` to 1."""
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    records = []
    for pair, frame in scores.items():
        for metric, column in frame.items():
            values = column.to_numpy(dtype=float)
            known = values[1:][~np.isnan(values[1:])]
            low, high = _centred_percentiles(values[0], known, tails) if len(known) else (np.nan, np.nan)
            records.append((*pair, metric, values[0], max(low, lowest), min(high, 1.0), len(known)))
    return pd.DataFrame.from_records(records, columns=list(INTERVAL_COLUMNS))


def _centred_percentiles(
    value: float, draws: npt.NDArray[np.float64], tails: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Return the percentiles of the replicates, shifted so that their mean equals the value."""
    low, high = np.quantile(draws, tails) + (value - draws.mean())
    # The mean of very skewed draws may lie outside their percentiles.
    return min(float(low), value), max(float(high), value)


def _unit_numbers(
    predictions: pd.DataFrame, lesions: npt.NDArray[np.integer] | None
) -> tuple[npt.NDArray[np.int64], int]:
    """Assign the numbers 0 to n - 1 to the resampled units, for each row of the predictions.

    They are numbered by their first row in the table, so the replicates do not depend on lesion names.
    """
    rows = predictions["row"].to_numpy(dtype=np.int64)
    present, place = np.unique(rows, return_inverse=True)
    if lesions is None:
        return place, len(present)
    if len(present) and present[-1] >= len(lesions):
        raise InputError(
            f"received lesions of {len(lesions)} rows and predictions of row {present[-1]}; "
            "pass the lesion of every row of the table"
        )
    _, first, code = np.unique(np.asarray(lesions)[present], return_index=True, return_inverse=True)
    return first.argsort().argsort()[code][place], len(first)


def _sum_cells(
    predictions: pd.DataFrame, class_names: Sequence[str], units: npt.NDArray[np.int64], n_units: int
) -> dict[Pair, list[CellSums]]:
    labels, predicted = (predictions[name].to_numpy(dtype=np.int64) for name in ("label", "predicted"))
    probabilities = predictions[[f"p_{name}" for name in class_names]].to_numpy(dtype=float)
    cells: dict[Pair, list[CellSums]] = {}
    groups = predictions.groupby(["sampler", "model", "repeat", "fold"], sort=False).indices
    for cell, rows in groups.items():
        sampler, model, _, _ = cast(Cell, cell)
        sums = sum_cell(labels[rows], predicted[rows], probabilities[rows], units[rows], n_units)
        cells.setdefault((sampler, model), []).append(sums)
    return cells


def _weights_of_draws(n_units: int, draws: int, random_state: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the weight of each unit, shape (units, replicates of a chunk), first for the original table."""
    rng = np.random.default_rng(random_state)
    yield np.ones((n_units, 1), np.float32)
    most = max(1, _WEIGHTS // n_units)
    for start in range(0, draws, most):
        size = min(most, draws - start)
        picks = rng.integers(0, n_units, (size, n_units)) * size + np.arange(size)[:, None]
        counts = np.bincount(picks.ravel(), minlength=n_units * size)
        yield counts.reshape(n_units, size).astype(np.float32)


def sum_cell(
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    units: npt.NDArray[np.integer],
    n_units: int,
) -> CellSums:
    """Sum the rows of a cell over their units, in advance of `score_weighted`."""
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

    The midrank of a score is the weight of the rows below it plus half the weight of the rows at it. From one
    score of a positive to the next, it grows by half the rows at each of them and by all rows in between.
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

    # float32 represents multiples of one half exactly up to eight million and is twice as fast.
    return csr_array((values.astype(np.float32), (rows, columns)), shape=shape)


def score_weighted(
    cell: CellSums, weights: npt.NDArray[np.float32], recall_of: int | None = None
) -> npt.NDArray[np.float64]:
    """Score a cell under `weights`: shape (units, draws), whole numbers, their sum below four million.

    Returns shape (metrics, draws): `REWEIGHTED_METRICS`, then the recall of the class `recall_of`. The values
    are those of `metrics.score` for a table that repeats the rows of every unit by its weight; NaN where it
    gives no score.
    """
    k = cell.n_classes
    counts = (cell.confusion @ weights).astype(float).reshape(k, k, -1)
    hits, true, named = np.einsum("iid->id", counts), counts.sum(axis=1), counts.sum(axis=0)
    recalls = _ratio(hits, true)
    f1 = _ratio(2 * hits, true + named)
    accuracy = _ratio(hits.sum(axis=0), true.sum(axis=0))
    scores = [_mean_of_known(f1), _mean_of_known(recalls), accuracy, _macro_auc(cell, weights, true)]
    if recall_of is not None:
        scores.append(recalls[recall_of])
    return np.stack(scores)


def _macro_auc(
    cell: CellSums, weights: npt.NDArray[np.float32], true: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weighted Mann-Whitney statistics from rank sums, with ties counted half; mean over classes."""
    everything = true.sum(axis=0)
    areas = np.full((len(cell.rankings) or 1, weights.shape[1]), np.nan)
    for area, ranking in zip(areas, cell.rankings, strict=False):
        midranks = np.cumsum(ranking.steps @ weights, axis=0)
        positives = ranking.positives @ weights
        weight = positives.sum(axis=0, dtype=float)
        # Pairs of two positives, each with itself included, count half.
        won = np.einsum("gd,gd->d", positives, midranks, dtype=float) - weight**2 / 2
        area[:] = _ratio(won, weight * (everything - weight))
    return _mean_of_known(areas)


def _ratio(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _mean_of_known(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the first axis, ignoring NaN; NaN if all values are NaN."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))
