"""Scikit-learn transformers for lesion descriptors; only their scale is learned from training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skinmnist.features.extract import extract_features, feature_names
from skinmnist.features.image_ops import Shape

#: Number of standard deviations from the mean at which features are clipped to limit outliers.
FARTHEST = 6.0


class Standardiser(TransformerMixin, BaseEstimator):
    """Standardise each column to zero mean and unit variance on the training rows, and clip outliers.

    Attributes
    ----------
    mean_, spread_ : ndarray of shape (columns,), float32
        Mean and standard deviation of each column; the spread of a constant column is set to 1.
    """

    def fit(self, X: npt.NDArray[Any], y: None = None) -> Standardiser:
        """Compute the mean and spread of features of shape (n, columns)."""
        self.mean_ = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = X.std(axis=0, dtype=np.float64)
        flat = spread <= 1e-6 * np.maximum(np.abs(self.mean_), 1e-6)
        self.spread_ = np.where(flat, 1.0, spread).astype(np.float32)
        return self

    def transform(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return standardised float32 features of shape (n, columns)."""
        check_is_fitted(self, "mean_")
        scaled = X.astype(np.float32, copy=False) - self.mean_
        scaled /= self.spread_
        return np.clip(scaled, -FARTHEST, FARTHEST, out=scaled)


class LesionDescriptors(TransformerMixin, BaseEstimator):
    """Convert flat pixel rows to standardised features that are invariant to rotation and mirroring.

    This transformer combines `skinmnist.features.extract.extract_features` and `Standardiser` for pipelines
    on pixel rows. Comparisons use the two steps separately: features are extracted once and standardised in
    each fold.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of an image; the length of a row is their product.

    Attributes
    ----------
    standardiser_ : Standardiser
    n_features_in_ : int
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def fit(self, X: npt.NDArray[np.uint8], y: None = None) -> LesionDescriptors:
        """Learn means and spreads from uint8 pixel rows of shape (n, height * width * channels).

        Raises
        ------
        InputError
            If the rows have the wrong length or type, or if the images are too small.
        """
        self.standardiser_ = Standardiser().fit(extract_features(X, self.shape))
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return standardised float32 features of pixel rows, shape (n, features)."""
        check_is_fitted(self, "standardiser_")
        return self.standardiser_.transform(extract_features(X, self.shape))

    def get_feature_names_out(self, input_features: None = None) -> npt.NDArray[np.object_]:
        """Return feature names, shape (features,)."""
        return np.asarray(feature_names(self.shape), dtype=object)
