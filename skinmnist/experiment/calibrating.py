"""Probabilities for a classifier that gives scores only, learnt from training lesions left out in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinmnist.experiment.splits import inner_folds
from skinmnist.experiment.training_rows import TrainingRows

#: Halves rank rows as thirds do, within .001 of area under the curve, at less than half the cost.
CALIBRATION_FOLDS = 2


def calibrate(
    make_classifier: Callable[[], Any],
    resampled: Callable[[npt.NDArray[np.int64]], TrainingRows],
    rows: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    lesions: npt.NDArray[np.str_] | None,
    mix: npt.NDArray[np.float64],
    seed: int,
) -> Any:
    """Learn to turn decision values into probabilities.

    Each half of the training lesions is scored by a classifier trained on the other, sampler included.
    These rows are weighted to the class mix that the sampler made: the classifier's own decisions answer to
    that mix, and so should its probabilities.

    Parameters
    ----------
    make_classifier : callable
        Returns an unfitted classifier with ``decision_function``.
    resampled : callable
        Positions among `rows` -> the `TrainingRows` that the sampler makes of them.
    rows : ndarray of shape (n, features)
    labels : ndarray of shape (n,), int64
    lesions : ndarray of shape (n,) or None
        None where rows are split one by one.
    mix : ndarray of shape (k,)
        Class mix of the rows that the final classifier is trained on.
    seed : int

    Returns
    -------
    estimator with ``predict_proba`` on decision values

    Raises
    ------
    ValueError
        Where a class has fewer than two lesions to learn from.
    """
    decisions, true_labels = [], []
    for inner, outer in inner_folds(labels, lesions, CALIBRATION_FOLDS, seed):
        classifier = make_classifier()
        resampled(inner).train(classifier)
        decisions.append(as_columns(classifier.decision_function(rows[outer])))
        true_labels.append(labels[outer])
    found = np.concatenate(true_labels)
    weights = (mix / np.bincount(found, minlength=len(mix)).clip(1))[found]
    return fit_calibration(np.concatenate(decisions), found, weights / weights.mean())


def fit_calibration(
    decisions: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
) -> Any:
    """Fit multinomial logistic regression of the class on decision values.

    Platt's scaling (1999) for more than two classes: with the pairwise values of all classes as its input
    it also repairs what one-against-one voting loses.

    Parameters
    ----------
    decisions : ndarray of shape (n, values) or (n,)
        Of rows that the scoring model was not trained on.
    labels : ndarray of shape (n,), int
    weights : ndarray of shape (n,)
        Turn the class mix of these rows into the one that the probabilities are meant for.

    Returns
    -------
    estimator with ``predict_proba`` on decision values of shape (m, values)
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
    return model.fit(as_columns(decisions), labels, logisticregression__sample_weight=weights)


def as_columns(decisions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the single decision value of a two-class model a column of its own."""
    return decisions[:, None] if decisions.ndim == 1 else decisions
