"""How far the luck of the pictures reaches: intervals of scores from resampled lesions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.reweighting import REWEIGHTED_METRICS, CellSums, score_weighted, sum_cell
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell

DRAWS = 1000
INTERVAL_COLUMNS = ("sampler", "model", "metric", "value", "low", "high", "draws")
#: Weights that are held at once: few enough to stay near the processor.
_WEIGHTS = 500_000

_Pair = tuple[str, str]


def bootstrap_scores(
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    lesions: npt.NDArray[np.integer] | None = None,
    draws: int = DRAWS,
    random_state: int = 0,
    recall_of: str = facts.MELANOMA,
) -> dict[_Pair, pd.DataFrame]:
    """Score every pair of sampler and model again and again, each time with lesions drawn with replacement.

    A lesion comes with all its pictures, for they are no independent witnesses (Field & Welsh, JRSS B 69,
    2007). The trained models stay as they are: what is resampled is whom they are asked about. Each draw is
    scored as the leaderboard is: `metrics.score` in every held-out fold, then the mean over folds and
    repeats. (Pooling the folds would rank pictures by scores of models that were calibrated apart.)
    A draw takes the same lesions for every fold, repeat and pair, so that pairs can be compared draw by
    draw.

    Parameters
    ----------
    predictions : DataFrame
        In the layout of ``predictions.csv.gz``.
    class_names : sequence of str
        In code order.
    lesions : ndarray of shape (n,), int, or None
        The lesion of each row of the table; None: every row is drawn on its own.
    draws : int
    random_state : int
    recall_of : str
        The class whose recall is scored as well; left out where there is no such class.

    Returns
    -------
    dict of (str, str) to DataFrame
        By pair, in the order of the predictions. One column for each metric. Row 0 holds the scores of the
        table itself, the others those of the draws. Where a draw leaves a fold without a lesion of a class,
        the class is left out of that fold's means, as in `metrics.score`; where it leaves a score to no fold
        at all, the score is NaN.

    Raises
    ------
    InputError
        Where `lesions` tells nothing about a row of the predictions.
    """
    units, n_units = _number_units(predictions, lesions)
    melanoma = list(class_names).index(recall_of) if recall_of in class_names else None
    metrics = [*REWEIGHTED_METRICS, *([f"recall_{recall_of}"] if melanoma is not None else [])]
    cells = _sum_cells(predictions, class_names, units, n_units)
    if not cells:
        return {}
    chunks: dict[_Pair, list[npt.NDArray[np.float64]]] = {pair: [] for pair in cells}
    for weights in _draw_weights(n_units, draws, random_state):
        for pair, sums in cells.items():
            scores = np.stack([score_weighted(cell, weights, melanoma) for cell in sums])
            known = ~np.isnan(scores)
            count = known.sum(axis=0)
            total = np.where(known, scores, 0.0).sum(axis=0)
            chunks[pair].append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return {pair: pd.DataFrame(np.hstack(parts).T, columns=metrics) for pair, parts in chunks.items()}


def intervals(scores: Mapping[_Pair, pd.DataFrame], confidence: float = 0.95) -> pd.DataFrame:
    """Sum the draws of `bootstrap_scores` up.

    Parameters
    ----------
    scores : mapping of (str, str) to DataFrame
    confidence : float

    Returns
    -------
    DataFrame
        Columns `INTERVAL_COLUMNS`: `value` is the score of the table itself; `low` and `high` are
        percentiles of the draws, moved by the difference of `value` to the mean of the draws, NaN without
        draws; `draws` counts those that gave a score.

    Notes
    -----
    Plain percentiles (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993) stand too low for
    macro-F1: of a rare class, a draw holds fewer different lesions of a fold than the fold itself. Moving
    them by the bias that the draws themselves show mends it. How often the intervals hold the true score is
    measured by ``experiments/benchmarks/interval_coverage.py``.
    """
    return _summarise(scores, confidence, lowest=0.0)


def difference_intervals(
    scores: Mapping[_Pair, pd.DataFrame], reference: str = "none", confidence: float = 0.95
) -> pd.DataFrame:
    """Return intervals of the difference of every sampler to a reference with the same model, draw by draw.

    Both sides of a draw are asked about the same lesions, so the interval is narrower than the two intervals
    of the scores let expect.

    Parameters
    ----------
    scores : mapping of (str, str) to DataFrame
        Of `bootstrap_scores`.
    reference : str
    confidence : float

    Returns
    -------
    DataFrame
        As of `intervals`; `value` is the difference.
    """
    gaps = {
        (sampler, model): frame - scores[reference, model]
        for (sampler, model), frame in scores.items()
        if sampler != reference and (reference, model) in scores
    }
    return _summarise(gaps, confidence, lowest=-1.0)


def _summarise(scores: Mapping[_Pair, pd.DataFrame], confidence: float, lowest: float) -> pd.DataFrame:
    """Take values and intervals of draws of a score that goes from `lowest` to 1."""
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
    """Take the percentiles of the draws, moved to where the mean of the draws is the value."""
    low, high = np.quantile(draws, tails) + (value - draws.mean())
    # The mean of very lopsided draws could stand outside their percentiles.
    return min(float(low), value), max(float(high), value)


def _number_units(
    predictions: pd.DataFrame, lesions: npt.NDArray[np.integer] | None
) -> tuple[npt.NDArray[np.int64], int]:
    """Give what is drawn a number, 0 to n - 1, row by row of the predictions.

    By the first row of the table that shows it, and not by the lesion's own number: so the draws do not
    depend on how lesions are named.
    """
    rows = predictions["row"].to_numpy(dtype=np.int64)
    present, place = np.unique(rows, return_inverse=True)
    if lesions is None:
        return place, len(present)
    if len(present) and present[-1] >= len(lesions):
        raise InputError(
            f"received lesions of {len(lesions)} rows and predictions of row {present[-1]}; "
            "give the lesion of every row of the table"
        )
    _, first, code = np.unique(np.asarray(lesions)[present], return_index=True, return_inverse=True)
    return first.argsort().argsort()[code][place], len(first)


def _sum_cells(
    predictions: pd.DataFrame, class_names: Sequence[str], units: npt.NDArray[np.int64], n_units: int
) -> dict[_Pair, list[CellSums]]:
    labels, predicted = (predictions[name].to_numpy(dtype=np.int64) for name in ("label", "predicted"))
    probabilities = predictions[[f"p_{name}" for name in class_names]].to_numpy(dtype=float)
    cells: dict[_Pair, list[CellSums]] = {}
    groups = predictions.groupby(["sampler", "model", "repeat", "fold"], sort=False).indices
    for cell, rows in groups.items():
        sampler, model, _, _ = cast(Cell, cell)
        sums = sum_cell(labels[rows], predicted[rows], probabilities[rows], units[rows], n_units)
        cells.setdefault((sampler, model), []).append(sums)
    return cells


def _draw_weights(n_units: int, draws: int, random_state: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield how often each unit is drawn, shape (units, draws of a chunk); first the table as it is."""
    rng = np.random.default_rng(random_state)
    yield np.ones((n_units, 1), np.float32)
    most = max(1, _WEIGHTS // n_units)
    for start in range(0, draws, most):
        size = min(most, draws - start)
        picks = rng.integers(0, n_units, (size, n_units)) * size + np.arange(size)[:, None]
        counts = np.bincount(picks.ravel(), minlength=n_units * size)
        yield counts.reshape(n_units, size).astype(np.float32)
