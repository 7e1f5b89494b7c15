"""Curves: trade-offs between classes, calibration, ROC, precision-recall and net benefit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellResult
from skinmnist.experiment.derived.tuning import (
    EXPONENTS,
    choose_exponents,
    counts_by_exponent,
    move_prior,
    validation_counts,
)
from skinmnist.experiment.metrics import ECE_BINS, balanced_accuracy, confusion_matrix

#: Rates at which the curves of the folds are interpolated before averaging.
GRID = np.linspace(0.0, 1.0, 201)
SPECIFICITIES = (0.80, 0.90, 0.95)
#: Range from treating nearly everyone to treating only at even odds or better.
THRESHOLDS = np.arange(1, 51) / 100

#: The axes of the two trade-off planes: horizontal and vertical score.
BETWEEN_CLASSES = ("accuracy", "balanced_accuracy")
FOR_MELANOMA = (f"specificity_{facts.MELANOMA}", f"recall_{facts.MELANOMA}")
#: Marks for points on the trade-off curves, in addition to the names of rules.
CURVE = "curve"

_PAIR = ["sampler", "model"]
_MOMENTS = ["x_mean", "y_mean", "x_sd", "y_sd", "correlation"]
TRADEOFF_COLUMNS = (*_PAIR, "x", "y", "mark", "exponent", *_MOMENTS, "cells")
_Values = npt.NDArray[np.float64]
_Counts = npt.NDArray[np.int64]
_Curve = Callable[[npt.NDArray[np.bool_], _Values], _Values]


def tradeoff_curves(
    results: Sequence[CellResult], class_names: Sequence[str], counted: Mapping[Cell, _Counts] | None = None
) -> pd.DataFrame:
    """Return the trade-off of each pair between frequent and rare classes, and for melanoma.

    If a sampler makes better decisions at its own threshold but shares its curve with another sampler, it has
    only moved along that curve. Cells of one pair and repeat must be adjacent. `counted` is the output of
    `counts_by_exponent` for each cell, if known.

    Returns
    -------
    DataFrame
        One row for each point:

        x, y : the scores of the plane, `BETWEEN_CLASSES` or, if there is melanoma, `FOR_MELANOMA`
        mark : `CURVE`, or the rule of `operating_points` whose decisions give the point
        exponent : the exponent of the prior. It increases along the curve of `BETWEEN_CLASSES` through the
        `EXPONENTS`; for a tuned rule it is the mean over the cells, and NaN otherwise
        x_mean, y_mean, x_sd, y_sd, correlation : statistics over the cells; spreads are NaN for one cell.
        The curve of `FOR_MELANOMA` is the ROC curve at the natural prior, averaged vertically
        cells : number of folds over all repeats; folds without melanoma, or with only melanoma, are excluded
        from `FOR_MELANOMA`
    """
    code = class_names.index(facts.MELANOMA) if facts.MELANOMA in class_names else None
    counted = counted or {result.cell: counts_by_exponent(result) for result in results}
    pairs: dict[tuple[str, ...], list[CellResult]] = {}
    for result in results:
        pairs.setdefault(result.cell[:2], []).append(result)
    frames = []
    for pair, cells in pairs.items():
        counts = np.stack([counted[result.cell] for result in cells])
        marks = _points(cells, counts)
        of_pair = [_moments(BETWEEN_CLASSES, CURVE, EXPONENTS, *_accuracies(counts))]
        of_pair += [
            _moments(BETWEEN_CLASSES, mark, [exponent], *_accuracies(decided[:, None]))
            for mark, (exponent, decided) in marks.items()
        ]
        if code is not None:
            of_pair += _melanoma(cells, marks, code)
        frames.append(_named(pd.concat(of_pair, ignore_index=True), pair))
    return _joined(frames, list(TRADEOFF_COLUMNS))


def _points(cells: Sequence[CellResult], counts: _Counts) -> dict[str, tuple[float, _Counts]]:
    """Return mean exponent and decisions (cells, k, k) by rule, with tuned rules if every cell has them."""
    k = counts.shape[-1]
    trained = np.stack([confusion_matrix(cell.labels, cell.predicted, k) for cell in cells])
    chosen = []
    for _, group in groupby(range(len(cells)), key=lambda place: cells[place].cell.repeat):
        places = list(group)
        aside = validation_counts([cells[place] for place in places])
        chosen += choose_exponents(list(counts[places]), aside)
    found = {"as_trained": (np.nan, trained)}
    for rule in chosen[0] if all(chosen) else ():
        exponents = np.array([of_cell[rule] for of_cell in chosen])
        at = np.searchsorted(EXPONENTS, exponents)
        found[rule] = float(exponents.mean()), counts[np.arange(len(cells)), at]
    return found


def _accuracies(counts: _Counts) -> tuple[_Values, _Values]:
    hits = np.trace(counts, axis1=-2, axis2=-1)
    return hits / counts.sum(axis=(-2, -1)), balanced_accuracy(counts)


def _melanoma(
    cells: Sequence[CellResult], marks: dict[str, tuple[float, _Counts]], code: int
) -> list[pd.DataFrame]:
    """Return the points of one pair in the `FOR_MELANOMA` plane."""
    truths = [cell.labels == code for cell in cells]
    both = np.array([truth.any() and not truth.all() for truth in truths])
    if not both.any():
        return []
    # Every second point gives a curve that is smooth enough to draw.
    heights = [
        _roc(truth, move_prior(cell, 0.0).probabilities[:, code])[::2]
        for cell, truth, known in zip(cells, truths, both, strict=True)
        if known
    ]
    specificities = np.tile(1 - GRID[::2], (len(heights), 1))
    none = np.full(specificities.shape[1], np.nan)
    frames = [_moments(FOR_MELANOMA, CURVE, none, specificities, np.stack(heights))]
    for mark, (exponent, decided) in marks.items():
        of_melanoma, called = decided[both, code], decided[both][:, :, code]
        ill, found = of_melanoma.sum(axis=1), of_melanoma[:, code]
        well = decided[both].sum(axis=(1, 2)) - ill
        spared = 1 - (called.sum(axis=1) - found) / well
        frames.append(_moments(FOR_MELANOMA, mark, [exponent], spared[:, None], (found / ill)[:, None]))
    return frames


def _moments(
    plane: tuple[str, str], mark: str, exponents: npt.ArrayLike, x: _Values, y: _Values
) -> pd.DataFrame:
    """Summarise points (cells, points) over the cells."""
    n = len(x)
    gaps = [values - values.mean(axis=0) for values in (x, y)]
    if n > 1:
        spreads = [np.sqrt((gap**2).sum(axis=0) / (n - 1)) for gap in gaps]
        scale = (n - 1) * spreads[0] * spreads[1]
        together = np.divide((gaps[0] * gaps[1]).sum(axis=0), scale, np.zeros_like(scale), where=scale > 0)
    else:
        spreads, together = [np.full(x.shape[1], np.nan)] * 2, np.full(x.shape[1], np.nan)
    frame = pd.DataFrame({"exponent": exponents, "x_mean": x.mean(axis=0), "y_mean": y.mean(axis=0)})
    frame = frame.assign(x_sd=spreads[0], y_sd=spreads[1], correlation=together, cells=n)
    frame = frame.assign(x=plane[0], y=plane[1], mark=mark)
    return frame[list(TRADEOFF_COLUMNS[len(_PAIR) :])]


def reliability_bins(predictions: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """Compute confidence and accuracy in 15 bins ``(low, high]`` of the top probability, for each pair.

    The held-out rows of all folds and repeats are pooled because a probability should mean the same in every
    fold. Means are NaN for empty bins. The mean gap between confidence and accuracy, weighted by the number
    of pictures, is the expected calibration error of the pooled rows.
    """
    edges = np.arange(ECE_BINS + 1) / ECE_BINS
    frames = []
    for pair, labels, probabilities in _by(_PAIR, predictions, class_names):
        top = probabilities.max(axis=1)
        bins = np.clip(np.ceil(top * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
        correct = (probabilities.argmax(axis=1) == labels).astype(float)
        sums = [np.bincount(bins, values, ECE_BINS) for values in (np.ones(len(top)), top, correct)]
        filled = np.where(sums[0] > 0, sums[0], np.nan)
        frame = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "pictures": sums[0].astype(int)})
        frame = frame.assign(confidence=sums[1] / filled, accuracy=sums[2] / filled)
        frames.append(_named(frame, pair))
    return _joined(frames, [*_PAIR, "low", "high", "pictures", "confidence", "accuracy"])


def roc_curves(predictions: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """Return the one-against-rest ROC curve of every class, averaged over folds at the rates in `GRID`.

    Folds are not pooled because their models are calibrated separately. Instead, the curve of each fold is
    interpolated at the same false positive rates, and the true positive rates are averaged (Fawcett, "An
    introduction to ROC analysis", 2006). The area under the mean curve is then close to the mean area on the
    leaderboard, from which the interpolation makes it differ slightly. ``sd`` is the standard deviation over
    folds and repeats; it is NaN for a single fold. A fold without positives or negatives of a class is
    excluded from the curve of that class.
    """
    return _mean_curves(predictions, class_names, _roc, ("false_positive_rate", "true_positive_rate"))


def precision_recall_curves(predictions: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """Return the precision of every class as a function of recall, averaged over folds like `roc_curves`.

    For each recall, the precision of a fold is that of the highest threshold that reaches this recall, as in
    the definition of average precision. (Straight lines between thresholds would be too optimistic: Davis &
    Goadrich, ICML 2006.) The columns are ``sampler, model, class, recall, precision, sd``.
    """
    return _mean_curves(predictions, class_names, _precision_recall, ("recall", "precision"))


def area_under(curve: pd.DataFrame, x: str = "false_positive_rate", y: str = "true_positive_rate") -> float:
    """Return the area under one of the `roc_curves`; for `precision_recall_curves`, pass their columns."""
    return float(np.trapezoid(curve[y], curve[x]))


def sensitivities(
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    class_name: str,
    specificities: Sequence[float] = SPECIFICITIES,
) -> pd.DataFrame:
    """Return the sensitivity for a class at given specificities, averaged over the ROC curves of the folds.

    The threshold is chosen on the same rows that are scored, which is slightly optimistic for all pairs
    alike.
    """
    code = _code(class_names, class_name)
    records = []
    for cell, labels, probabilities in _by([*_PAIR, "repeat", "fold"], predictions, class_names):
        truth = labels == code
        if truth.any() and not truth.all():
            true, false = _rates(truth, probabilities[:, code])
            # The tolerance keeps rounding errors from moving a rate across the bound.
            found = [true[false <= 1 - specificity + 1e-12].max() for specificity in specificities]
            records += [(*cell[:2], *point) for point in zip(specificities, found, strict=True)]
    frame = pd.DataFrame.from_records(records, columns=[*_PAIR, "specificity", "sensitivity"])
    grouped = frame.groupby([*_PAIR, "specificity"], sort=False)["sensitivity"]
    return grouped.agg(sensitivity="mean", sd="std", folds="size").reset_index()


def decision_curves(
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    class_name: str,
    thresholds: npt.ArrayLike = THRESHOLDS,
) -> pd.DataFrame:
    """Return the net benefit of treating everyone whose probability of a class reaches a threshold.

    In decision curve analysis (Vickers & Elkin, Medical Decision Making 26, 2006), the threshold t determines
    how many unnecessary treatments are acceptable per detected case. The net benefit per picture is
    ``true positives / n - false positives / n * t / (1 - t)``. Folds and repeats are pooled.
    """
    code = _code(class_names, class_name)
    limits = np.asarray(thresholds, dtype=float)
    if not ((limits > 0) & (limits < 1)).all():
        raise InputError(f"received thresholds {limits.tolist()}; expected values above 0 and below 1")
    odds = limits / (1 - limits)
    frames = []
    for pair, labels, probabilities in _by(_PAIR, predictions, class_names):
        truth, n = labels == code, len(labels)
        ill, well = (np.sort(probabilities[side, code]) for side in (truth, ~truth))
        found, needless = (len(side) - np.searchsorted(side, limits) for side in (ill, well))
        frame = pd.DataFrame({"threshold": limits, "net_benefit": (found - needless * odds) / n})
        frames.append(_named(frame.assign(treat_all=(len(ill) - len(well) * odds) / n, treat_none=0.0), pair))
    return _joined(frames, [*_PAIR, "threshold", "net_benefit", "treat_all", "treat_none"])


def _by(
    keys: list[str], predictions: pd.DataFrame, class_names: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], npt.NDArray[np.int64], _Values]]:
    """Yield the key, labels and probabilities of each group, in the order of the table."""
    labels = predictions["label"].to_numpy(dtype=np.int64)
    probabilities = predictions[[f"p_{name}" for name in class_names]].to_numpy(dtype=float)
    for key, rows in predictions.groupby(keys, sort=False).indices.items():
        yield cast(tuple[str, ...], key), labels[rows], probabilities[rows]


def _named(frame: pd.DataFrame, pair: tuple[str, ...]) -> pd.DataFrame:
    """Prepend columns with the names of a pair."""
    return frame.assign(sampler=pair[0], model=pair[1])[[*_PAIR, *frame.columns]]


def _joined(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Concatenate frames, or return an empty frame with `columns` if there are none."""
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _code(class_names: Sequence[str], class_name: str) -> int:
    if class_name not in class_names:
        raise InputError(f"received class {class_name!r}; expected one of {', '.join(class_names)}")
    return list(class_names).index(class_name)


def _mean_curves(
    predictions: pd.DataFrame, class_names: Sequence[str], read: _Curve, axes: tuple[str, str]
) -> pd.DataFrame:
    readings: dict[tuple[str, ...], list[_Values]] = {}
    for cell, labels, probabilities in _by([*_PAIR, "repeat", "fold"], predictions, class_names):
        for code, name in enumerate(class_names):
            truth = labels == code
            if truth.any() and not truth.all():
                readings.setdefault((*cell[:2], name), []).append(read(truth, probabilities[:, code]))
    frames = []
    for (sampler, model, name), heights in readings.items():
        spread = np.std(heights, axis=0, ddof=1) if len(heights) > 1 else np.full(len(GRID), np.nan)
        columns = {"class": name, axes[0]: GRID, axes[1]: np.mean(heights, axis=0), "sd": spread}
        frames.append(_named(pd.DataFrame(columns), (sampler, model)))
    return _joined(frames, [*_PAIR, "class", *axes, "sd"])


def _roc(truth: npt.NDArray[np.bool_], scores: _Values) -> _Values:
    true, false = _rates(truth, scores)
    # At vertical steps of the curve, use the upper end.
    after = np.searchsorted(false, GRID, side="right")
    before, after = after - 1, np.minimum(after, len(false) - 1)
    width = false[after] - false[before]
    share = np.divide(GRID - false[before], width, out=np.zeros(len(GRID)), where=width > 0)
    return true[before] + share * (true[after] - true[before])


def _rates(truth: npt.NDArray[np.bool_], scores: _Values) -> tuple[_Values, _Values]:
    """Return true and false positive rates at each threshold, from (0, 0) to (1, 1)."""
    hits, called = _by_threshold(truth, scores)
    alarms = called - hits
    return np.append(0.0, hits / hits[-1]), np.append(0.0, alarms / alarms[-1])


def _precision_recall(truth: npt.NDArray[np.bool_], scores: _Values) -> _Values:
    hits, called = _by_threshold(truth, scores)
    precision, recall = hits / called, hits / hits[-1]
    return precision[np.searchsorted(recall, GRID - 1e-12)]


def _by_threshold(
    truth: npt.NDArray[np.bool_], scores: _Values
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count correct and all positive predictions at each threshold, from the highest score down.

    scikit-learn's curves give the same, but importing and validating take a quarter of the time of a report.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    return np.cumsum(truth[order])[ends], ends + 1
