"""The support vector machine: its input components, and one machine for each pair of classes.

The kernel width is set from the rows before resampling, which have unit mean square in every space used here.
If it were set from the resampled rows, as with ``gamma="scale"``, it would differ between copies and weights.
Decision values are not probabilities; they are calibrated on training lesions.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
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
