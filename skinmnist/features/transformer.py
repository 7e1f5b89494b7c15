"""Lesion descriptors as scikit-learn transformers; only their scale is learnt from training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skinmnist.features.extract import extract_features, feature_names
from skinmnist.features.image_ops import Shape

#: Standard deviations from the mean at which a feature is clipped: beyond lies an odd image, far from all.
FARTHEST = 6.0


class Standardiser(TransformerMixin, BaseEstimator):
    """Give every column zero mean and unit spread over the training rows, and clip outliers.

    Attributes
    ----------
    mean_, spread_ : ndarray of shape (columns,), float32
        A column that does not vary keeps a spread of 1.
    """

    def fit(self, X: npt.NDArray[Any], y: None = None) -> Standardiser:
        """Measure features of shape (n, columns)."""
        self.mean_ = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = X.std(axis=0, dtype=np.float64)
        flat = spread <= 1e-6 * np.maximum(np.abs(self.mean_), 1e-6)
        self.spread_ = np.where(flat, 1.0, spread).astype(np.float32)
        return self

    def transform(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return features in standard deviations from the mean, shape (n, columns), float32."""
        check_is_fitted(self, "mean_")
        scaled = X.astype(np.float32, copy=False) - self.mean_
        scaled /= self.spread_
        return np.clip(scaled, -FARTHEST, FARTHEST, out=scaled)


class LesionDescriptors(TransformerMixin, BaseEstimator):
    """Turn flat pixel rows into standardised features that do not change when an image is turned or mirrored.

    `skinmnist.features.extract.extract_features` and `Standardiser` in one, for a pipeline on pixel rows. In
    a comparison the two are apart: features are extracted once, and standardised in every fold.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of an image; rows have their product as length.

    Attributes
    ----------
    standardiser_ : Standardiser
    n_features_in_ : int
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def fit(self, X: npt.NDArray[np.uint8], y: None = None) -> LesionDescriptors:
        """Learn means and spreads from pixel rows of shape (n, height * width * channels), uint8.

        Raises
        ------
        InputError
            Where rows have another length or type, or images are too small.
        """
        self.standardiser_ = Standardiser().fit(extract_features(X, self.shape))
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the standardised features of pixel rows, shape (n, features), float32."""
        check_is_fitted(self, "standardiser_")
        return self.standardiser_.transform(extract_features(X, self.shape))

    def get_feature_names_out(self, input_features: None = None) -> npt.NDArray[np.object_]:
        """Return the name of every feature, shape (features,)."""
        return np.asarray(feature_names(self.shape), dtype=object)
