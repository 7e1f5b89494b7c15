"""Decision rules as estimators that turn probabilities into predictions, for any scikit-learn pipeline.

Each estimator wraps a classifier with ``predict_proba`` and changes its predictions but not its training:

====================== ========================================================================
`PriorCorrection`      probabilities at a class mix other than that of training
`TunedPrior`           the same, at a mix selected for a metric by cross-validation
`CostSensitiveDecision` the class with the smallest expected cost
`ConformalSets`        a set of classes that contains the true class with a given probability
====================== ========================================================================

For binary classification, scikit-learn's `TunedThresholdClassifierCV` is the counterpart of `TunedPrior`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import (
    BaseCrossValidator,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_predict,
)
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, indexable

from skinmnist.decisions.probabilities import (
    EXPONENTS,
    change_prior,
    cheapest,
    check_costs,
    conformal_sets,
    conformal_thresholds,
    flatten_prior,
)

_Floats = npt.NDArray[np.float64]

#: Metrics for `TunedPrior`, by name.
METRICS: dict[str, Callable[[Any, Any], float]] = {
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": partial(f1_score, average="macro"),
    "accuracy": accuracy_score,
}


class _Decision(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Base class: a fitted classifier (`estimator_`), its classes, and the class mix of its training rows."""

    estimator: Any

    def _fit_estimator(self, X: Any, y: Any) -> npt.NDArray[Any]:
        """Fit a clone to all rows and return the labels as an array."""
        check_classification_targets(y)
        labels = column_or_1d(y, warn=True)
        self.estimator_ = clone(self.estimator).fit(X, labels)
        self.classes_ = self.estimator_.classes_
        self.class_prior_ = np.array([(labels == name).mean() for name in self.classes_])
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return labels

    def predict_proba(self, X: Any) -> _Floats:
        """Return the probabilities of the wrapped classifier, shape (m, k)."""
        check_is_fitted(self, "estimator_")
        return np.asarray(self.estimator_.predict_proba(X), dtype=np.float64)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the predicted class of each row, shape (m,)."""
        decided = self._decide(self.predict_proba(X))
        return np.asarray(self.classes_[decided])

    def _decide(self, probabilities: _Floats) -> npt.NDArray[np.intp]:
        return probabilities.argmax(axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.estimator.__sklearn_tags__().input_tags.sparse
        return tags


class PriorCorrection(_Decision):
    """Adjust the probabilities of a classifier to a different class mix.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``
    priors : "balanced", "natural" or array-like of shape (n_classes,), default="balanced"
        The target class mix, in the order of ``classes_``: all classes equally frequent, the mix of the rows
        passed to `fit`, or a custom mix, such as that of the clinic where the model will be used.
    trained_at : "natural", "balanced" or array-like of shape (n_classes,), default="natural"
        The class mix on which the classifier is trained. Use "balanced" if a pipeline resamples to equal
        frequencies, or with ``class_weight="balanced"``.

    Attributes
    ----------
    estimator_ : the fitted classifier
    classes_ : ndarray of shape (n_classes,)
    class_prior_ : ndarray of shape (n_classes,)
        Shares of the classes in the rows passed to `fit`.

    See Also
    --------
    TunedPrior : Select the class mix by cross-validation.

    References
    ----------
    Saerens, Latinne & Decaestecker, Neural Computation 14, 2002; Menon et al., ICLR 2021.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.metrics import recall_score
    >>> X, y = make_classification(500, weights=[0.9], flip_y=0.1, random_state=0)
    >>> plain = LogisticRegression().fit(X, y)
    >>> corrected = PriorCorrection(LogisticRegression()).fit(X, y)
    >>> recall_score(y, corrected.predict(X)) > recall_score(y, plain.predict(X))
    True
    """

    def __init__(self, estimator: Any, *, priors: Any = "balanced", trained_at: Any = "natural") -> None:
        self.estimator = estimator
        self.priors = priors
        self.trained_at = trained_at

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the classifier to all rows."""
        self._fit_estimator(X, y)
        self.wanted_prior_ = self._mix(self.priors, "priors")
        self.training_prior_ = self._mix(self.trained_at, "trained_at")
        return self

    def _mix(self, given: Any, name: str) -> _Floats:
        """Return a class mix as shares, shape (n_classes,)."""
        if isinstance(given, str):
            if given not in ("natural", "balanced"):
                raise ValueError(f"expected {name} 'natural', 'balanced' or an array, got {given!r}")
            return (
                self.class_prior_
                if given == "natural"
                else np.full(len(self.classes_), 1 / len(self.classes_))
            )
        mix = np.asarray(given, dtype=np.float64)
        if (
            mix.shape != (len(self.classes_),)
            or not np.isfinite(mix).all()
            or (mix < 0).any()
            or not mix.sum()
        ):
            raise ValueError(
                f"expected {name} of {len(self.classes_)} finite numbers of 0 or more, "
                f"one for each class, got {given!r}"
            )
        return mix / mix.sum()

    def predict_proba(self, X: Any) -> _Floats:
        """Return the probabilities at the target class mix, shape (m, k).

        Examples
        --------
        >>> corrected.predict_proba(X[:2]).sum(axis=1).round(6).tolist()
        [1.0, 1.0]
        """
        trained = super().predict_proba(X)
        return change_prior(trained, self.training_prior_, self.wanted_prior_)


class TunedPrior(_Decision):
    """Select by cross-validation how far to flatten the class mix: multiclass threshold tuning.

    The probabilities are divided by a power of the class frequencies. The exponent, one of `EXPONENTS`, is
    the one with the best score on pooled out-of-fold predictions; ties are broken in favour of the smallest.
    A single parameter overfits less than one threshold per class.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``
    metric : {"balanced_accuracy", "macro_f1", "accuracy"} or callable, default="balanced_accuracy"
        A callable has the signature ``metric(y_true, y_pred)``; higher values must be better.
    cv : int or cross-validator, default=5
        If ``groups`` are passed to `fit`, an int creates folds that keep groups together.
    random_state : int or None, default=None
        Seed for shuffling the rows before splitting them into folds; with None, rows are not shuffled.

    Attributes
    ----------
    estimator_ : the classifier, fitted to all rows
    exponent_ : float
        The selected exponent: 0 keeps the training class mix, 1 makes all classes equally frequent.
    best_score_ : float
        Score of the selected exponent on the out-of-fold predictions used to select it.

    See Also
    --------
    PriorCorrection : Correct for a given class mix.
    sklearn.model_selection.TunedThresholdClassifierCV : Tune the threshold of a binary classifier.

    References
    ----------
    Collell, Prelec & Patil, Neurocomputing 275, 2018.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = make_classification(500, weights=[0.9], flip_y=0.1, random_state=0)
    >>> tuned = TunedPrior(LogisticRegression(), random_state=0).fit(X, y)
    >>> 0 < tuned.exponent_ <= 2
    True
    """

    def __init__(
        self,
        estimator: Any,
        *,
        metric: str | Callable[[Any, Any], float] = "balanced_accuracy",
        cv: int | BaseCrossValidator = 5,
        random_state: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.metric = metric
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Select the exponent on out-of-fold predictions, then fit the classifier to all rows."""
        labels = self._fit_estimator(X, y)
        indexable(X, y, groups)
        folds = self._folds(labels, groups)
        held_out = cross_val_predict(
            clone(self.estimator), X, labels, groups=groups, cv=folds, method="predict_proba"
        )
        scores = [self._score(labels, self._flatten(held_out, exponent)) for exponent in EXPONENTS]
        best = int(np.round(scores, 12).argmax())
        self.exponent_, self.best_score_ = float(EXPONENTS[best]), float(scores[best])
        return self

    def _folds(self, labels: npt.NDArray[Any], groups: Any) -> Any:
        if not isinstance(self.cv, int):
            return self.cv
        smallest = int(np.unique(labels, return_counts=True)[1].min())
        n = max(2, min(self.cv, smallest))
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        return kind(n, shuffle=self.random_state is not None, random_state=self.random_state)

    def _flatten(self, probabilities: _Floats, exponent: float) -> _Floats:
        return change_prior(probabilities, self.class_prior_, flatten_prior(self.class_prior_, exponent))

    def _score(self, labels: npt.NDArray[Any], probabilities: _Floats) -> float:
        if not callable(self.metric) and self.metric not in METRICS:
            raise ValueError(f"expected metric {', '.join(METRICS)} or a function, got {self.metric!r}")
        metric = self.metric if callable(self.metric) else METRICS[self.metric]
        return float(metric(labels, self.classes_[probabilities.argmax(axis=1)]))

    def predict_proba(self, X: Any) -> _Floats:
        """Return the probabilities at the selected class mix, shape (m, k).

        Examples
        --------
        >>> tuned.predict_proba(X).shape
        (500, 2)
        """
        return self._flatten(super().predict_proba(X), self.exponent_)


class CostSensitiveDecision(_Decision):
    """Predict the class with the smallest expected cost.

    The probabilities stay unchanged, so predictions may differ from the most probable class.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``
        Its probabilities must refer to the class mix of the rows to predict. If the classifier is trained on
        resampled rows, wrap it in `PriorCorrection` first.
    cost_matrix : array-like of shape (n_classes, n_classes) or None, default=None
        The cost of each decision (column) for each true class (row), in the order of ``classes_``. With
        None, every error costs 1, and the most probable class is predicted.

    Attributes
    ----------
    estimator_ : the fitted classifier
    cost_matrix_ : ndarray of shape (n_classes, n_classes)

    See Also
    --------
    PriorCorrection : Correct for a given class mix.

    References
    ----------
    Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.

    Examples
    --------
    Missing a case of class 1 costs as much as twenty false alarms:

    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = make_classification(500, weights=[0.9], flip_y=0.1, random_state=0)
    >>> careful = CostSensitiveDecision(LogisticRegression(), cost_matrix=[[0, 1], [20, 0]]).fit(X, y)
    >>> careful.expected_costs(X).shape
    (500, 2)
    >>> careful.predict(X).sum() > LogisticRegression().fit(X, y).predict(X).sum()
    np.True_
    """

    def __init__(self, estimator: Any, cost_matrix: Any = None) -> None:
        self.estimator = estimator
        self.cost_matrix = cost_matrix

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the classifier to all rows."""
        self._fit_estimator(X, y)
        self.cost_matrix_ = check_costs(self.cost_matrix, len(self.classes_))
        return self

    def expected_costs(self, X: Any) -> _Floats:
        """Return the expected cost of each decision, shape (m, k).

        Examples
        --------
        >>> bool((careful.expected_costs(X).argmin(axis=1) == careful.predict(X)).all())
        True
        """
        return np.asarray(self.predict_proba(X) @ self.cost_matrix_)

    def _decide(self, probabilities: _Floats) -> npt.NDArray[np.intp]:
        return cheapest(probabilities, self.cost_matrix_)


class ConformalSets(_Decision):
    """Predict sets of classes that contain the true class with a given probability.

    A subset of the rows is held out from training. A class is in the set of a new row if its probability is
    at least as large as for all but a share `alpha` of the held-out rows of this class (split conformal
    prediction). The guarantee applies to rows from the same distribution as the held-out rows, regardless of
    the quality of the classifier; a poor classifier gives large sets.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``
    alpha : float, default=0.1
        Maximum share of sets that may omit the true class.
    classwise : bool, default=True
        Whether the guarantee applies within each class, or only on average over all rows, at the expense of
        rare classes. A class with fewer than ``1 / alpha - 1`` held-out rows is in every set.
    calibration_size : float, default=0.25
        Share of the rows, or of the groups, held out from training.
    random_state : int or None, default=None

    Attributes
    ----------
    estimator_ : the classifier, fitted to the other rows
    thresholds_ : ndarray of shape (n_classes,)
        The minimum probability for a class to be in the set.

    See Also
    --------
    CostSensitiveDecision : Predict a single class by expected cost.

    References
    ----------
    Vovk, ACML 2012; Sadinle, Lei & Wasserman, JASA 114, 2019; Ding et al., NeurIPS 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> conformal = ConformalSets(LogisticRegression(max_iter=500), random_state=0).fit(X, y)
    >>> sets = conformal.predict_sets(X)
    >>> sets.shape, bool(sets.any(axis=1).all())
    ((150, 3), True)
    """

    def __init__(
        self,
        estimator: Any,
        alpha: float = 0.1,
        *,
        classwise: bool = True,
        calibration_size: float = 0.25,
        random_state: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.classwise = classwise
        self.calibration_size = calibration_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit the classifier to one subset of rows and the thresholds to the other; groups stay together."""
        if not 0 < self.alpha < 1 or not 0 < self.calibration_size < 1:
            raise ValueError(
                f"expected alpha and calibration_size between 0 and 1, got {self.alpha} and "
                f"{self.calibration_size}"
            )
        X, y, groups = indexable(X, y, groups)
        check_classification_targets(y)
        labels = column_or_1d(y, warn=True)
        training, kept = self._split(labels, groups)
        self._fit_estimator(_safe_indexing(X, training), labels[training])
        places = np.searchsorted(self.classes_, labels[kept])
        known = np.isin(labels[kept], self.classes_)
        probabilities = super().predict_proba(_safe_indexing(X, kept[known]))
        self.thresholds_ = conformal_thresholds(places[known], probabilities, self.alpha, self.classwise)
        return self

    def _split(
        self, labels: npt.NDArray[Any], groups: Any
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the training rows and the calibration rows."""
        if groups is not None:
            folds = max(2, round(1 / self.calibration_size))
            splitter: Any = StratifiedGroupKFold(folds, shuffle=True, random_state=self.random_state)
        else:
            splitter = StratifiedShuffleSplit(
                1, test_size=self.calibration_size, random_state=self.random_state
            )
        return next(iter(splitter.split(np.zeros(len(labels)), labels, groups)))

    def predict_sets(self, X: Any) -> npt.NDArray[np.bool_]:
        """Return a mask of the classes in each row's set, shape (m, k), including the most probable class.

        Examples
        --------
        >>> conformal.predict_sets(X[:1]).tolist()
        [[True, False, False]]
        """
        return conformal_sets(self.predict_proba(X), self.thresholds_)
