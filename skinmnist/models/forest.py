"""The random forest, and ensembles that balance the classes for each of their members."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

#: Maximum number of rows per tree: beyond it, the cost of sorting grows faster than the benefit.
TREE_ROWS = 20_000


class EvenForest(RandomForestClassifier):
    """A random forest whose trees all see the same number of rows, regardless of the sampler.

    Samplers are thus compared at equal training cost: they change the class mix from which trees draw their
    rows, not the number of rows. `rows_per_tree` is limited by the rows passed to ``fit`` and by `TREE_ROWS`;
    ``notes_`` reports the latter limit when it applies. By default, leaves contain at least two rows;
    otherwise, copies made by a sampler would form their own leaves. Features are first rounded to `levels`
    steps per unit: sorting dominates the run time, and takes half as long with many equal values.

    References
    ----------
    Breiman, "Random forests", Machine Learning 45, 2001.
    """

    def __init__(
        self,
        rows_per_tree: int | None = None,
        n_estimators: int = 100,
        min_samples_leaf: int = 2,
        max_features: int | str = "sqrt",
        levels: float | None = None,
        random_state: int = 0,
    ) -> None:
        super().__init__(
            n_estimators=n_estimators,
            min_samples_leaf=min_samples_leaf,
            max_features=max_features,
            random_state=random_state,
            n_jobs=1,
        )
        self.rows_per_tree = rows_per_tree
        self.levels = levels

    def fit(
        self, X: npt.NDArray[Any], y: npt.NDArray[Any], sample_weight: npt.NDArray[Any] | None = None
    ) -> EvenForest:
        """Fit the trees to rows of shape (n, features)."""
        asked = len(X) if self.rows_per_tree is None else min(self.rows_per_tree, len(X))
        seen = min(asked, TREE_ROWS)
        self.max_samples = seen
        self.notes_ = (f"each tree saw {seen:,} rows instead of {asked:,}",) if seen < asked else ()
        return super().fit(round_to(X, self.levels), y, sample_weight)

    def predict_proba(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the mean probabilities of the trees, shape (m, classes)."""
        return super().predict_proba(round_to(X, self.levels))


def round_to(X: npt.NDArray[Any], levels: float | None) -> npt.NDArray[Any]:
    """Return features in whole steps of ``1 / levels``; unchanged if `levels` is None.

    Examples
    --------
    >>> round_to(np.array([0.1, 0.2]), 8)
    array([1., 2.], dtype=float32)
    """
    if levels is None:
        return X
    steps = np.asarray(X, dtype=np.float32) * np.float32(levels)
    return np.rint(steps, out=steps)


#: Smallest probability before the logarithm, about that of one leaf among all trees.
LEAST_PROBABILITY = 1e-3


class BalancedEnsemble(ClassifierMixin, BaseEstimator):
    """An ensemble of imbalanced-learn, each member of which sees equally many rows of every class.

    Each member is trained on a random part of the common classes, so together the members use rows that a
    single undersampler would drop. The members' votes are not probabilities, so there is no
    ``predict_proba``; `skinmnist.experiment.training.calibrate` turns the decision values into probabilities.
    Features are rounded as in `EvenForest`.

    Parameters
    ----------
    kind : {"balanced_random_forest", "balanced_bagging", "easy_ensemble", "rus_boost"}
        The first two average the probabilities of trees, each on a balanced sample (Chen, Liaw & Breiman,
        "Using random forest to learn imbalanced data", 2004; Barandela, Valdovinos & Sánchez, Pattern
        Analysis and Applications 6, 2003). ``easy_ensemble`` averages boosted trees (Liu, Wu & Zhou, IEEE
        Trans. SMC B 39, 2009), and ``rus_boost`` draws a balanced sample in every round of boosting (Seiffert
        et al., IEEE Trans. SMC A 40, 2010).
    levels : float or None, default=8.0
        Steps per unit to which features are rounded; None leaves them unchanged.
    random_state : int, default=0

    Attributes
    ----------
    ensemble_ : estimator
        The fitted ensemble.
    classes_ : ndarray of shape (classes,)
    """

    def __init__(
        self, kind: str = "balanced_random_forest", levels: float | None = 8.0, random_state: int = 0
    ) -> None:
        self.kind = kind
        self.levels = levels
        self.random_state = random_state

    def fit(self, X: npt.NDArray[Any], y: npt.NDArray[Any]) -> BalancedEnsemble:
        """Fit the ensemble to rows of shape (n, features)."""
        self.ensemble_ = _BALANCED[self.kind](self.random_state).fit(round_to(X, self.levels), y)
        self.classes_ = self.ensemble_.classes_
        return self

    @property
    def boosts(self) -> bool:
        """Whether the members are boosted, so their decision values add up."""
        return self.kind in ("easy_ensemble", "rus_boost")

    def decision_function(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the votes of boosted trees, or the logarithm of the trees' mean probabilities."""
        check_is_fitted(self)
        rows = round_to(X, self.levels)
        if self.boosts:
            return self.ensemble_.decision_function(rows)
        return np.log(self.ensemble_.predict_proba(rows).clip(LEAST_PROBABILITY))

    def predict(self, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the class that the members favour."""
        check_is_fitted(self)
        return self.ensemble_.predict(round_to(X, self.levels))


def _balanced_random_forest(seed: int) -> Any:
    from imblearn.ensemble import BalancedRandomForestClassifier

    return BalancedRandomForestClassifier(
        n_estimators=300,
        min_samples_leaf=2,
        max_features=16,
        sampling_strategy="all",
        replacement=True,
        bootstrap=False,
        random_state=seed,
        n_jobs=1,
    )


def _balanced_bagging(seed: int) -> Any:
    from imblearn.ensemble import BalancedBaggingClassifier

    tree = DecisionTreeClassifier(max_features=32, min_samples_leaf=2)
    return BalancedBaggingClassifier(tree, n_estimators=100, random_state=seed, n_jobs=1)


def _easy_ensemble(seed: int) -> Any:
    from imblearn.ensemble import EasyEnsembleClassifier

    boosted = AdaBoostClassifier(_deep_tree(), n_estimators=30, learning_rate=0.5)
    return EasyEnsembleClassifier(10, boosted, random_state=seed, n_jobs=1)


def _rus_boost(seed: int) -> Any:
    from imblearn.ensemble import RUSBoostClassifier

    return RUSBoostClassifier(_deep_tree(), n_estimators=300, learning_rate=0.1, random_state=seed)


def _deep_tree() -> DecisionTreeClassifier:
    # Boosted stumps, the default, do not separate seven classes: at 28x28, RUSBoost ranked at random.
    return DecisionTreeClassifier(max_depth=8, max_features=32)


_BALANCED = {
    "balanced_random_forest": _balanced_random_forest,
    "balanced_bagging": _balanced_bagging,
    "easy_ensemble": _easy_ensemble,
    "rus_boost": _rus_boost,
}
