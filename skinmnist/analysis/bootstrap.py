"""Bootstrap intervals of scores over resampled lesions, computed with sparse matrix products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.significance import Pair, first_places
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.lesion_scores import LESION, lesion_predictions

DRAWS = 1000
INTERVAL_COLUMNS = ("sampler", "model", "metric", "value", "low", "high", "draws")
#: Scores that can be computed from weighted rows, in column order; the recall of one class can be added.
REWEIGHTED_METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc")
#: A repeat and a fold.
_Place = tuple[int, int]
#: Number of weights in memory at once; the weights of one fold then fit in the processor's cache.
_WEIGHTS = 2_000_000


@dataclass(frozen=True, eq=False)
class Ranking:
    """Data for the area under one ROC curve, with one row for each distinct score of its rarer side.

    The rarer side is the positives or the negatives, whichever have fewer rows. The product of `steps`
    (sparse, scores x units) and the weights is the increase of the weighted midrank from one such score to
    the next. The product of `rarer` and the weights is the weight of the rarer side at each such score.
    `positive` is whether the rarer side is that of the positives.
    """

    steps: Any
    rarer: Any
    positive: bool


@dataclass(frozen=True, eq=False)
class CellSums:
    """The held-out rows of a cell, summed over units such as lesions, whose rows share one weight.

    `units` are the numbers of the units with a row in the cell. `confusion` (sparse, k * k x units) counts
    the rows of each unit by true and predicted class. `rankings` has one entry for each class with both
    positives and negatives.
    """

    units: npt.NDArray[np.integer]
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
    held_out: Sequence[Sequence[str]] = (),
) -> dict[Pair, pd.DataFrame]:
    """Score every pair of sampler and model on resampled lesions: one frame per pair, one column per metric.

    A lesion is drawn with all its pictures because they are not independent (Field & Welsh, JRSS B 69, 2007).
    The trained models stay fixed; only the held-out lesions are resampled. `lesions` gives the lesion of each
    row of the table; if None, rows are resampled. Each replicate is scored like the leaderboard:
    `metrics.score` in every held-out fold, then the mean over folds and repeats. (Pooling the folds would
    rank pictures by the scores of separately calibrated models.) A replicate uses the same lesions for every
    fold, repeat and pair, which allows paired comparisons within a replicate. If `held_out` is given, the
    mean is over held-out parts, as in `each_part_once`: repeats with the same part are averaged first.

    Row 0 contains the scores on the original table; the other rows contain those of the replicates. If a
    class is missing from a fold in a replicate, the means of that fold exclude it, as in `metrics.score`. A
    score that is undefined in every fold is NaN. The recall of `recall_of` is also computed if the class
    exists.
    """
    units, n_units = _unit_numbers(predictions, lesions)
    melanoma = list(class_names).index(recall_of) if recall_of in class_names else None
    metrics = [*REWEIGHTED_METRICS, *([f"recall_{recall_of}"] if melanoma is not None else [])]
    cells = _sum_cells(predictions, class_names, units)
    if not cells:
        return {}
    shares = {pair: _shares(sums, held_out) for pair, sums in cells.items()}
    chunks: dict[Pair, list[npt.NDArray[np.float64]]] = {pair: [] for pair in cells}
    for weights in _weights_of_draws(n_units, draws, random_state):
        for pair, sums in cells.items():
            scores = np.stack([score_weighted(cell, weights, melanoma) for cell in sums.values()])
            known = ~np.isnan(scores)
            count = (known * shares[pair]).sum(axis=0)
            total = np.where(known, scores * shares[pair], 0.0).sum(axis=0)
            chunks[pair].append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return {pair: pd.DataFrame(np.hstack(parts).T, columns=metrics) for pair, parts in chunks.items()}


def intervals(scores: Mapping[Pair, pd.DataFrame], confidence: float = 0.95) -> pd.DataFrame:
    """Summarise the output of `bootstrap_scores` as a table with `INTERVAL_COLUMNS`.

    `value` is the score on the original table. `low` and `high` are percentiles of the replicates, shifted by
    the difference between `value` and the mean of the replicates; they are NaN without replicates. `draws` is
    the number of replicates with a defined score.

    Plain percentiles (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993) are too low for macro-F1
    because a replicate has fewer distinct lesions of a rare class than the fold itself. The shift removes
    this bias, which the replicates reveal. ``experiments/benchmarks/interval_coverage.py`` measures how often
    the intervals cover the true score.
    """
    return _summarise(scores, confidence, lowest=0.0)


def bootstrap_with_differences(
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    lesions: npt.NDArray[np.integer] | None,
    scored: npt.NDArray[np.integer] | None,
    draws: int = DRAWS,
    random_state: int = 0,
    held_out: Sequence[Sequence[str]] = (),
) -> tuple[dict[Pair, pd.DataFrame], dict[Pair, pd.DataFrame]]:
    """Return `bootstrap_scores`, and the differences between each sampler and ``none`` with the same model.

    If `scored`, the output of `scored_lesions`, is given, the scores by lesion are additional columns. Both
    sides of a difference use the same lesions in each replicate, and their means are over held-out parts, as
    in the comparisons. If the sides have different parts, for example because a cell has failed, both are
    scored again on the parts that they share; without a shared part, there is no difference. `held_out`
    identifies the parts, as in `each_part_once`; by default, each repeat and fold is a part of its own.
    """
    score = partial(
        _bootstrap_both,
        class_names=class_names,
        lesions=lesions,
        scored=scored,
        draws=draws,
        random_state=random_state,
    )
    scores, parts = score(predictions), _parts_by_pair(predictions, held_out)
    differences = {}
    for pair, frame in scores.items():
        plain = ("none", pair[1])
        if pair == plain or plain not in scores:
            continue
        own, other = (Counter(parts[side].values()) for side in (pair, plain))
        sides, shared = {pair: frame, plain: scores[plain]}, own.keys() & other.keys()
        # Only if a side has every part equally often is its mean over cells the mean over parts.
        if own.keys() != other.keys() or max(len({*count.values()}) for count in (own, other)) > 1:
            rows = _in_cells(predictions, (pair, plain), parts, shared)
            sides = score(rows, held_out=held_out) if shared else {}
        if sides:
            differences[pair] = sides[pair] - sides[plain]
    return scores, differences


def _bootstrap_both(
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    lesions: npt.NDArray[np.integer] | None,
    scored: npt.NDArray[np.integer] | None,
    **options: Any,
) -> dict[Pair, pd.DataFrame]:
    """Return `bootstrap_scores`, with the scores by lesion as additional columns unless `scored` is None."""
    found = bootstrap_scores(predictions, class_names, lesions, **options)
    if scored is None:
        return found
    averaged = lesion_predictions(predictions, class_names, scored)
    by_lesion = bootstrap_scores(averaged, class_names, scored, **options)
    return {
        pair: pd.concat([frame, by_lesion[pair].add_prefix(LESION)], axis=1) if pair in by_lesion else frame
        for pair, frame in found.items()
    }


def _parts_by_pair(
    predictions: pd.DataFrame, held_out: Sequence[Sequence[str]]
) -> dict[Pair, dict[_Place, _Place]]:
    """Return the repeats and folds that each pair has predicted, and the first one of each held-out part."""
    found: dict[Pair, dict[_Place, _Place]] = {}
    first, cells = first_places(held_out), predictions[list(Cell._fields)].drop_duplicates()
    for sampler, model, repeat, fold in cells.itertuples(index=False):
        found.setdefault((sampler, model), {})[repeat, fold] = first.get((repeat, fold), (repeat, fold))
    return found


def _in_cells(
    predictions: pd.DataFrame,
    pairs: Sequence[Pair],
    parts: Mapping[Pair, Mapping[_Place, _Place]],
    shared: Collection[_Place],
) -> pd.DataFrame:
    """Return the predictions of some pairs in their cells with a shared part."""
    cells = [(*pair, *place) for pair in pairs for place, part in parts[pair].items() if part in shared]
    return predictions[pd.MultiIndex.from_frame(predictions[list(Cell._fields)]).isin(cells)]


def difference_intervals(differences: Mapping[Pair, pd.DataFrame]) -> pd.DataFrame:
    """Summarise the differences of `bootstrap_with_differences`, like `intervals`.

    The differences are paired, so an interval is narrower than the intervals of the two scores suggest.
    """
    return _summarise(differences, 0.95, lowest=-1.0)


def _summarise(scores: Mapping[Pair, pd.DataFrame], confidence: float, lowest: float) -> pd.DataFrame:
    """Return values and intervals for a score that ranges from `lowest` to 1."""
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
    """Return percentiles of the replicates, shifted to make the mean of the replicates equal to `value`."""
    low, high = np.quantile(draws, tails) + (value - draws.mean())
    # If the draws are very skewed, their mean may lie outside the percentiles.
    return min(float(low), value), max(float(high), value)


def _unit_numbers(
    predictions: pd.DataFrame, lesions: npt.NDArray[np.integer] | None
) -> tuple[npt.NDArray[np.int64], int]:
    """Return the number of the resampled unit (0 to n - 1) for each row of the predictions, and n.

    Units are numbered by first appearance in the table, so replicates do not depend on lesion names.
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
    predictions: pd.DataFrame, class_names: Sequence[str], units: npt.NDArray[np.int64]
) -> dict[Pair, dict[_Place, CellSums]]:
    labels, predicted = (predictions[name].to_numpy(dtype=np.int64) for name in ("label", "predicted"))
    probabilities = predictions[[f"p_{name}" for name in class_names]].to_numpy(dtype=float)
    cells: dict[Pair, dict[_Place, CellSums]] = {}
    groups = predictions.groupby(["sampler", "model", "repeat", "fold"], sort=False).indices
    for cell, rows in groups.items():
        sampler, model, repeat, fold = cast(Cell, cell)
        sums = sum_cell(labels[rows], predicted[rows], probabilities[rows], units[rows])
        cells.setdefault((sampler, model), {})[repeat, fold] = sums
    return cells


def _shares(places: Iterable[_Place], held_out: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    """Return the weights of cells, of shape (cells, 1, 1), that add up to 1 in every held-out part."""
    first = first_places(held_out)
    parts = [first.get(place, place) for place in places]
    cells = Counter(parts)
    return np.array([1 / cells[part] for part in parts])[:, None, None]


def _weights_of_draws(n_units: int, draws: int, random_state: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield unit weights of shape (units, replicates in a chunk), starting with those of the table itself."""
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
) -> CellSums:
    """Sum the rows of a cell over their units, as input for `score_weighted`."""
    n_classes = probabilities.shape[1]
    own, columns = np.unique(units, return_inverse=True)
    ones = np.ones(len(labels), np.float32)
    confusion = _sparse(ones, labels * n_classes + predicted, columns, (n_classes**2, len(own)))
    truths = [labels == code for code in range(n_classes)]
    rankings = tuple(
        _rank(probabilities[:, code], truth, columns, len(own))
        for code, truth in enumerate(truths)
        if truth.any() and not truth.all()
    )
    return CellSums(own, confusion, rankings, n_classes)


def _rank(
    scores: npt.NDArray[np.float64],
    positive: npt.NDArray[np.bool_],
    units: npt.NDArray[np.integer],
    n_units: int,
) -> Ranking:
    """Sort the rows of a cell once, for use with any weights.

    The midrank of a score is the weight of the rows with a lower score plus half the weight of the rows with
    that score. From one score of the rarer side to the next, it grows by half the rows at each score and by
    all rows in between.
    """
    of_positives = 2 * np.count_nonzero(positive) <= len(positive)
    rarer = positive if of_positives else ~positive
    marks = np.unique(scores[rarer])
    place = np.searchsorted(marks, scores)
    at_mark = marks[np.minimum(place, len(marks) - 1)] == scores
    shares = np.where(at_mark, 0.5, 1.0)
    again = at_mark & (place + 1 < len(marks))
    below_last = place < len(marks)
    rows = np.concatenate([place[below_last], place[again] + 1])
    columns = np.concatenate([units[below_last], units[again]])
    values = np.concatenate([shares[below_last], shares[again]])
    shape = (len(marks), n_units)
    ones = np.ones(np.count_nonzero(rarer))
    return Ranking(
        steps=_sparse(values, rows, columns, shape),
        rarer=_sparse(ones, place[rarer], units[rarer], shape),
        positive=bool(of_positives),
    )


def _sparse(
    values: npt.NDArray[Any], rows: npt.NDArray[Any], columns: npt.NDArray[Any], shape: tuple[int, int]
) -> Any:
    from scipy.sparse import csr_array

    # float32 is twice as fast, and exact for multiples of one half up to eight million.
    return csr_array((values.astype(np.float32), (rows, columns)), shape=shape)


def score_weighted(
    cell: CellSums, weights: npt.NDArray[np.float32], recall_of: int | None = None
) -> npt.NDArray[np.float64]:
    """Score a cell with `weights`, whole numbers of shape (units, draws) with a sum below four million.

    Returns an array of shape (metrics, draws) with `REWEIGHTED_METRICS` and then the recall of the class
    `recall_of`. Each value equals that of `metrics.score` on a table in which the rows of each unit are
    repeated by its weight, or NaN if that score is undefined.
    """
    k, weights = cell.n_classes, weights[cell.units]
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
    """Return the mean over classes of weighted Mann-Whitney statistics, counting ties as one half."""
    everything = true.sum(axis=0)
    areas = np.full((len(cell.rankings) or 1, weights.shape[1]), np.nan)
    for area, ranking in zip(areas, cell.rankings, strict=False):
        midranks = ranking.steps @ weights
        for last, row in pairwise(midranks):  # Faster than `cumsum`, whose steps along columns are slow.
            row += last
        rarer = ranking.rarer @ weights
        weight = rarer.sum(axis=0, dtype=float)
        # Pairs within the rarer side count half, including each row paired with itself.
        above = np.einsum("gd,gd->d", rarer, midranks, dtype=float) - weight**2 / 2
        pairs = weight * (everything - weight)
        area[:] = _ratio(above if ranking.positive else pairs - above, pairs)
    return _mean_of_known(areas)


def _ratio(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _mean_of_known(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean over the first axis, ignoring NaN, or NaN if all values are NaN."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))
