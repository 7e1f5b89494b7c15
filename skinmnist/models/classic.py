"""Classic models: the support vector machine, forests, boosted trees, and ensembles that balance classes.

The support vector machine works on components of its input, with one machine for each pair of classes. Its
kernel width is set from the rows before resampling, which have unit mean square in every space used here.
If it were set from the resampled rows, as with ``gamma="scale"``, it would differ between copies and weights.
Its decision values are not probabilities; they are calibrated on training lesions.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from skinmnist.features.extract import feature_names
from skinmnist.features.transformer import Standardiser
from skinmnist.inference.kernel import kernel_decisions
from skinmnist.models.spec import Setting

#: Penalty on lesion features, and the number of principal axes sufficient to preserve their distances.
PENALTY, FEATURE_AXES = 5.0, 100
#: Penalty on pixel components (selected from 1, 3 and 10 on one lesion-grouped fold at 28x28), and their
#: number.
PENALTY_PIXELS, PIXEL_COMPONENTS = 10.0, 64
#: Stopping tolerance; the scores of a fold differ by at most .001 from those at a tolerance of 0.001.
TOLERANCE = 0.01
#: Maximum number of rows per tree: beyond it, the cost of sorting grows faster than the benefit.
TREE_ROWS = 20_000
#: Smallest probability before the logarithm, about that of one leaf among all trees.
LEAST_PROBABILITY = 1e-3


def make_svm(setting: Setting) -> PairwiseSVC:
    """Return an RBF support vector classifier (Cortes & Vapnik 1995) for `make_axes`."""
    columns = len(feature_names(setting.shape))
    return _machine(PENALTY, min(FEATURE_AXES, setting.train_rows, columns))


def make_svm_pixels(setting: Setting) -> PairwiseSVC:
    """Return the same type of classifier for the leading principal components of pixels."""
    return _machine(PENALTY_PIXELS, min(PIXEL_COMPONENTS, setting.train_rows, math.prod(setting.shape)))


def _machine(penalty: float, columns: int) -> PairwiseSVC:
    return PairwiseSVC(C=penalty, gamma=1.0 / columns, tol=TOLERANCE)


def make_axes(setting: Setting) -> Any:
    """Return the transformer of lesion features for `make_svm`: standardisation, then principal axes.

    Rotation preserves distances, and most axes contribute almost nothing to them, so fewer axes reduce the
    cost of the kernel.
    """
    return make_pipeline(Standardiser(), Components(FEATURE_AXES, random_state=setting.seed))


def make_components(setting: Setting) -> Components:
    """Return the transformer of pixels for `make_svm_pixels`."""
    return Components(random_state=setting.seed)


class Components(TransformerMixin, BaseEstimator):
    """Project rows onto their leading principal components, divided by a single common scale.

    A common scale without whitening preserves the distances between images, on which both the RBF kernel and
    SMOTE's neighbours depend. `scale_` is the root mean square of the training components. The number of
    components is limited by the numbers of columns and rows. The decomposition is randomized (Halko,
    Martinsson & Tropp 2011).
    """

    def __init__(self, n_components: int = PIXEL_COMPONENTS, random_state: int = 0) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: npt.NDArray[Any], y: None = None) -> Components:
        """Fit the components to pixel rows of shape (n, features)."""
        found = min(self.n_components, *X.shape)
        self.pca_ = PCA(found, svd_solver="randomized", random_state=self.random_state)
        scores = self.pca_.fit_transform(X.astype(np.float32, copy=False))
        self.scale_ = float(np.sqrt(np.mean(scores**2))) or 1.0
        return self

    def transform(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the components of pixel rows, shape (n, components), float32."""
        # PCA centres after projecting; on pixels, that would lose two digits, so rows are centred first.
        centered = X.astype(np.float32, copy=False) - self.pca_.mean_
        return (centered @ self.pca_.components_.T) / self.scale_


class PairwiseSVC(SVC):
    """An `SVC` with an RBF kernel, one machine for each pair of classes, and fast predictions.

    libsvm compares each row with each support vector separately; a matrix product computes the same kernel
    values at a fraction of the cost. Decision values equal those of ``SVC(decision_function_shape="ovo")`` up
    to rounding; libsvm does the fitting. Probabilities come from `skinmnist.experiment.training.calibrate`.
    `gamma` is the inverse squared width of the kernel.
    """

    def __init__(
        self, C: float = 1.0, gamma: float = 1.0, tol: float = 1e-3, cache_size: float = 400
    ) -> None:
        super().__init__(C=C, gamma=gamma, tol=tol, decision_function_shape="ovo", cache_size=cache_size)

    def decision_function(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the decision values for each pair of classes, shape (m, pairs), or (m,) for two classes."""
        check_is_fitted(self)
        decisions = kernel_decisions(X, self.support_vectors_, *self.pair_weights(), self.gamma)
        return decisions[:, 0] if decisions.shape[1] == 1 else decisions

    def pair_weights(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the weights of support vectors for each pair, shape (vectors, pairs), and the intercepts.

        libsvm stores the weights of a class's vectors against the k - 1 other classes in k - 1 rows.
        """
        ends = np.cumsum(self.n_support_)
        own = [slice(end - size, end) for size, end in zip(self.n_support_, ends, strict=True)]
        pairs = list(combinations(range(len(own)), 2))
        weights = np.zeros((len(self.support_vectors_), len(pairs)))
        for pair, (first, second) in enumerate(pairs):
            weights[own[first], pair] = self.dual_coef_[second - 1, own[first]]
            weights[own[second], pair] = self.dual_coef_[first, own[second]]
        return weights, self.intercept_


class EvenForest(RandomForestClassifier):
    """A random forest whose trees all see the same number of rows, regardless of the sampler.

    Samplers are thus compared at equal training cost: they change the class mix from which trees draw their
    rows, not the number of rows. `rows_per_tree` is limited by the rows passed to ``fit`` and by `TREE_ROWS`;
    ``notes_`` reports the latter limit when it applies. Weights are the chances of rows to be drawn; a row
    drawn twice is one row with twice the weight. By default, leaves contain at least two different rows;
    otherwise, a row that is drawn often would form its own leaf. Features are first rounded to `levels`
    steps per unit: sorting dominates the run time, and takes half as long with many equal values. If `copy_X`
    is False, ``fit`` may overwrite the training rows.

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
        copy_X: bool = True,
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
        self.copy_X = copy_X

    def fit(
        self, X: npt.NDArray[Any], y: npt.NDArray[Any], sample_weight: npt.NDArray[Any] | None = None
    ) -> EvenForest:
        """Fit the trees to rows of shape (n, features)."""
        asked = len(X) if self.rows_per_tree is None else min(self.rows_per_tree, len(X))
        seen = min(asked, TREE_ROWS)
        self.max_samples = seen
        self.notes_ = (f"each tree saw {seen:,} rows instead of {asked:,}",) if seen < asked else ()
        return super().fit(round_to(X, self.levels, self.copy_X), y, sample_weight)

    def predict_proba(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the mean probabilities of the trees, shape (m, classes)."""
        return super().predict_proba(round_to(X, self.levels))


def round_to(X: npt.NDArray[Any], levels: float | None, copy: bool = True) -> npt.NDArray[Any]:
    """Return features in whole steps of ``1 / levels``; unchanged if `levels` is None.

    Without `copy`, float32 features are overwritten with the result.

    Examples
    --------
    >>> round_to(np.array([0.1, 0.2]), 8)
    array([1., 2.], dtype=float32)
    """
    if levels is None:
        return X
    steps = np.array(X, dtype=np.float32, copy=copy or None)
    steps *= np.float32(levels)
    return np.rint(steps, out=steps)


class BoostedTrees(HistGradientBoostingClassifier):
    """Histogram gradient boosting that sorts a feature once to bin weighted rows.

    scikit-learn 1.9 sorts it once for each edge of a bin, which takes twice as long as the trees. If there
    are weights, every feature is therefore rounded to at most `max_bins` of its values, which then have one
    bin each. The edges lie halfway between these values, so rows to predict need no rounding. Without
    weights, it is the boosting of scikit-learn.

    References
    ----------
    Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
    """

    def fit(
        self, X: npt.NDArray[Any], y: npt.NDArray[Any], sample_weight: npt.NDArray[Any] | None = None
    ) -> BoostedTrees:
        """Fit the trees to rows of shape (n, features)."""
        rows = X if sample_weight is None else round_to_values(X, np.asarray(sample_weight), self.max_bins)
        return super().fit(rows, y, sample_weight)


def round_to_values(X: npt.NDArray[Any], weights: npt.NDArray[Any], most: int) -> npt.NDArray[np.float64]:
    """Round each feature to the nearest of at most `most` of its values, quantiles of the weighted rows.

    Halfway between two values, the lower one is chosen, as by the bins of `BoostedTrees`.

    Examples
    --------
    >>> column = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [9.0]])
    >>> round_to_values(column, np.ones(6), 3).ravel()
    array([1., 1., 3., 3., 5., 5.])
    >>> round_to_values(column, np.array([1, 1, 1, 1, 1, 9]), 3).ravel()
    array([3., 3., 3., 3., 3., 9.])
    """
    rounded = np.empty(X.shape)
    shares = (np.arange(most) + 0.5) / most
    for column, values in enumerate(X.T):
        order = np.argsort(values, kind="stable")
        levels = np.unique(values)
        if len(levels) > most:
            reached = np.cumsum(weights[order], dtype=np.float64)
            levels = np.unique(values[order[np.searchsorted(reached, shares * reached[-1])]])
        levels = levels.astype(np.float64)
        rounded[:, column] = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)]
    return rounded


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
