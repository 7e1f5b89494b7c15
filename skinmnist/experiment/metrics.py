"""Scores computed only from held-out probabilities and predicted classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

ECE_BINS = 15


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The held-out predictions of one cell, which are the input of every metric.

    Attributes
    ----------
    labels, predicted : ndarray of shape (m,), int64
        Codes of the true and the predicted classes.
    probabilities : ndarray of shape (m, k), float64
        Rows sum to 1.

    See Also
    --------
    Metric : A score that is computed from it.

    Examples
    --------
    >>> import numpy as np
    >>> from skinmnist import HeldOut
    >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    >>> held_out = HeldOut(np.array([0, 0, 1]), probabilities.argmax(axis=1), probabilities)
    >>> held_out.counts.tolist()
    [[1, 1], [0, 1]]
    >>> held_out.areas.round(2).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """

    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """The confusion matrix, shape (k, k), with true classes as rows and predicted classes as columns."""
        return confusion_matrix(self.labels, self.predicted, self.probabilities.shape[1])

    @cached_property
    def areas(self) -> npt.NDArray[np.float64]:
        """ROC AUC and average precision, shape (c, 2), of each class with both positives and negatives."""
        truths = [self.labels == code for code in range(self.probabilities.shape[1])]
        return np.array(
            [
                ranking_areas(truth, self.probabilities[:, code])
                for code, truth in enumerate(truths)
                if truth.any() and not truth.all()
            ]
        ).reshape(-1, 2)


@dataclass(frozen=True)
class Metric:
    """A score, with its description and the function that computes it.

    Attributes
    ----------
    title : str
        A one-sentence description for tables and tooltips.
    compute : callable
        Accepts a `HeldOut` and returns a float, or None if the score is undefined for these predictions.
    lower_is_better : bool

    See Also
    --------
    HeldOut : The input of `compute`.
    run_comparison : Accepts additional metrics as `metrics`.

    Examples
    --------
    >>> import numpy as np
    >>> from skinmnist import HeldOut, Metric
    >>> def missed(held_out):
    ...     return float((held_out.predicted[held_out.labels == 1] != 1).mean())
    >>> metric = Metric("Share of class 1 that is missed; lower is better.", missed, lower_is_better=True)
    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> metric.compute(HeldOut(np.array([0, 1, 1]), probabilities.argmax(axis=1), probabilities))
    0.5
    """

    title: str
    compute: Callable[[HeldOut], float | None]
    lower_is_better: bool = False


def expected_calibration_error(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> float:
    """Return the mean difference between confidence and accuracy over `ECE_BINS` bins of the top probability.

    Bins are ``(i/n, (i+1)/n]``, each weighted by its share of the pictures (Naeini, Cooper & Hauskrecht,
    AAAI 2015; Guo et al., ICML 2017).

    Examples
    --------
    >>> import numpy as np
    >>> expected_calibration_error(np.array([0, 0]), np.array([[0.9, 0.1], [0.1, 0.9]]))
    0.4
    """
    top = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == labels).astype(float)
    bins = np.clip(np.ceil(top * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=correct - top, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def score(
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    class_names: Sequence[str],
    more: Mapping[str, Metric] | None = None,
) -> dict[str, float]:
    """Score the held-out predictions of one cell; each row of the probabilities (m, k) must sum to 1.

    Undefined scores are absent: the recall of a class that does not occur in the labels, and the precision of
    a class that is never predicted.

    Examples
    --------
    >>> import numpy as np
    >>> labels, probabilities = np.array([0, 1]), np.array([[0.8, 0.2], [0.7, 0.3]])
    >>> scores = score(labels, probabilities.argmax(axis=1), probabilities, ["nv", "mel"])
    >>> scores["accuracy"], scores["recall_mel"], "precision_mel" in scores
    (0.5, 0.0, False)
    """
    held_out = HeldOut(labels, predicted, probabilities)
    scores = {name: metric.compute(held_out) for name, metric in {**METRICS, **(more or {})}.items()}
    counts = held_out.counts
    true, called, hits = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    per_class = list(zip(class_names, hits, true, called, strict=True))
    scores |= {f"recall_{name}": hit / all_true for name, hit, all_true, _ in per_class if all_true}
    scores |= {f"precision_{name}": hit / all_called for name, hit, _, all_called in per_class if all_called}
    return {name: float(value) for name, value in scores.items() if value is not None}


def confusion_matrix(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.integer], n_classes: int
) -> npt.NDArray[np.int64]:
    """Count pictures by true and predicted class, shape (k, k).

    Examples
    --------
    >>> import numpy as np
    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    places = labels * n_classes + predicted
    return np.bincount(places, minlength=n_classes**2).reshape(n_classes, n_classes)


def macro_f1(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Return the macro-F1 of confusion counts (..., k, k) over the true and predicted classes that occur.

    Examples
    --------
    >>> import numpy as np
    >>> macro_f1(np.array([[1, 1], [0, 1]])).round(3).item()
    0.667
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    either = counts.sum(axis=-1) + counts.sum(axis=-2)
    return _mean_over(2 * hits / np.maximum(either, 1), either > 0)


def balanced_accuracy(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Return the mean recall of confusion counts (..., k, k) over the true classes that occur.

    Examples
    --------
    >>> import numpy as np
    >>> balanced_accuracy(np.array([[1, 1], [0, 1]])).item()
    0.75
    """
    hits, true = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1)
    return _mean_over(hits / np.maximum(true, 1), true > 0)


def _mean_over(values: npt.NDArray[np.float64], which: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return np.where(which, values, 0.0).sum(axis=-1) / which.sum(axis=-1)


def _correlation(counts: npt.NDArray[np.integer]) -> float:
    """Return the multiclass Matthews correlation coefficient (Gorodkin 2004); 0 for constant predictions."""
    true, called, n = counts.sum(axis=1), counts.sum(axis=0), int(counts.sum())
    covariance = n * int(np.trace(counts)) - int(true @ called)
    spread = float(n**2 - int(true @ true)) * float(n**2 - int(called @ called))
    return covariance / spread**0.5 if spread else 0.0


def _log_loss(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> float:
    """Return the mean negative log-probability of the true class; probabilities are clipped at 2.2e-16."""
    of_true = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_true, np.finfo(np.float64).eps)).mean())


def _brier(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> float:
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def ranking_areas(truth: npt.NDArray[np.bool_], values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the area under the ROC curve and the average precision, with a single sort.

    The corresponding functions of scikit-learn return the same results, but their input validation would take
    most of the time of a report. `truth` must contain both True and False; tied `values` share one threshold.

    Examples
    --------
    >>> import numpy as np
    >>> ranking_areas(np.array([True, False, True]), np.array([0.9, 0.5, 0.6]))
    (1.0, 1.0)
    """
    order = np.argsort(-values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)
    hits, called = np.cumsum(truth[order])[ends], ends + 1
    recall = np.append(0.0, hits / hits[-1])
    alarms = np.append(0.0, (called - hits) / (called[-1] - hits[-1]))
    return float(np.trapezoid(recall, alarms)), float(np.sum(np.diff(recall) * hits / called))


def _mean_area(place: int, held_out: HeldOut) -> float | None:
    areas = held_out.areas[:, place]
    return float(np.mean(areas)) if len(areas) else None


#: The metrics of every run, in the order of ``scores.csv``. To add one, add an entry.
METRICS = {
    "accuracy": Metric(
        "Share of pictures predicted correctly; high even for a constant prediction.",
        lambda held_out: np.trace(held_out.counts) / len(held_out.labels),
    ),
    "balanced_accuracy": Metric(
        "Mean of the recalls of the classes, which all count the same.",
        lambda held_out: float(balanced_accuracy(held_out.counts)),
    ),
    "macro_f1": Metric(
        "Unweighted mean over classes of F1, the harmonic mean of precision and recall.",
        lambda held_out: float(macro_f1(held_out.counts)),
    ),
    "macro_auc": Metric(
        "Unweighted mean over classes of the area under the ROC curve, one class against the rest.",
        partial(_mean_area, 0),
    ),
    "macro_average_precision": Metric(
        "Unweighted mean over classes of average precision, one against the rest.", partial(_mean_area, 1)
    ),
    "mcc": Metric(
        "Matthews correlation coefficient: 0 for guessing, 1 for perfection.",
        lambda held_out: _correlation(held_out.counts),
    ),
    "log_loss": Metric(
        "Mean negative log-probability of the true class; lower is better.",
        lambda held_out: _log_loss(held_out.labels, held_out.probabilities),
        lower_is_better=True,
    ),
    "brier": Metric(
        "Squared error of the probabilities, summed over classes, mean over pictures; lower is better.",
        lambda held_out: _brier(held_out.labels, held_out.probabilities),
        lower_is_better=True,
    ),
    "ece": Metric(
        "Expected calibration error: confidence against accuracy in 15 equal bins; lower is better.",
        lambda held_out: expected_calibration_error(held_out.labels, held_out.probabilities),
        lower_is_better=True,
    ),
}

#: Description of each score, for tables and tooltips.
METRIC_TITLES = {name: metric.title for name, metric in METRICS.items()}

#: The scores that a cost matrix adds to a run, in `skinmnist.experiment.costs`, with their descriptions.
COST_METRICS = {
    "cost_per_1000_as_trained": "Expected cost of the mistakes in 1,000 pictures, predicting the most "
    "probable class as trained; lower is better.",
    "cost_per_1000_cost_sensitive": "Expected cost of the mistakes in 1,000 pictures, with the decision that "
    "has the smallest expected cost at the natural prior; lower is better.",
}

#: Scores for which lower is better.
LOWER_IS_BETTER = frozenset(
    [*(name for name, metric in METRICS.items() if metric.lower_is_better), *COST_METRICS]
)


def metric_names(class_names: Sequence[str]) -> list[str]:
    """Return the names of all metrics, in the order of ``scores.csv``.

    Examples
    --------
    >>> metric_names(["nv", "mel"])[-4:]
    ['recall_nv', 'recall_mel', 'precision_nv', 'precision_mel']
    """
    per_class = [f"{kind}_{name}" for kind in ("recall", "precision") for name in class_names]
    return [*METRICS, *per_class]


def score_predictions(
    predictions: pd.DataFrame, class_names: Sequence[str], more: Mapping[str, Metric] | None = None
) -> pd.DataFrame:
    """Score every cell of ``predictions.csv.gz``, in order, with the columns of ``scores.csv``.

    The additional metrics in `more` follow the standard metrics.
    """
    import pandas as pd

    more = more or {}
    order = [*metric_names(class_names), *more]
    columns = [f"p_{name}" for name in class_names]
    records = []
    for cell, rows in predictions.groupby(["sampler", "model", "repeat", "fold"], sort=False):
        scores = score(
            rows["label"].to_numpy(),
            rows["predicted"].to_numpy(),
            rows[columns].to_numpy(),
            class_names,
            more,
        )
        records += [(*cell, name, scores[name]) for name in order if name in scores]
    return pd.DataFrame.from_records(
        records, columns=["sampler", "model", "repeat", "fold", "metric", "value"]
    )


def add_scores(scores: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Add scores of the same cells; the additional scores of a cell follow its other scores."""
    import pandas as pd

    cells = ["sampler", "model", "repeat", "fold"]
    every = pd.concat([scores, more[list(scores.columns)].astype(scores.dtypes)], ignore_index=True)
    order = every.groupby(cells, sort=False).ngroup().argsort(kind="stable")
    return every.iloc[order].reset_index(drop=True)


def mean_scores(cells: Sequence[Mapping[str, float]], names: Iterable[str]) -> dict[str, float]:
    """Return the means over cells of the named scores that are available for all cells."""
    return {
        name: float(np.mean([scores[name] for scores in cells]))
        for name in names
        if cells and all(name in scores for scores in cells)
    }


def best_pair(scores: pd.DataFrame) -> tuple[str, str] | None:
    """Return the sampler and model with the highest mean macro-F1 over folds; the first in case of a tie."""
    means = scores[scores["metric"] == "macro_f1"].groupby(["sampler", "model"], sort=False)["value"].mean()
    if means.empty:
        return None
    sampler, model = means.index[int(means.to_numpy().argmax())]
    return str(sampler), str(model)
