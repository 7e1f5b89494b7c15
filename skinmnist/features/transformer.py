"""Descriptors of lesions as scikit-learn transformers: what is learnt from the training rows is a scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skinmnist.features.descriptors import describe, descriptor_names
from skinmnist.features.image_ops import Shape

#: Standard deviations from the mean beyond which a number is cut: what lies farther is an odd picture, and
#: would be far from everything.
FARTHEST = 6.0


class Standardiser(TransformerMixin, BaseEstimator):
    """Give every column zero mean and unit spread over the training rows, and cut what lies far out.

    Attributes
    ----------
    mean_, spread_ : ndarray of shape (columns,), float32
        A column that does not vary keeps a spread of 1.
    """

    def fit(self, X: npt.NDArray[Any], y: None = None) -> Standardiser:
        """Measure numbers of shape (n, columns)."""
        self.mean_ = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = X.std(axis=0, dtype=np.float64)
        flat = spread <= 1e-6 * np.maximum(np.abs(self.mean_), 1e-6)
        self.spread_ = np.where(flat, 1.0, spread).astype(np.float32)
        return self

    def transform(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the numbers in standard deviations from the mean, shape (n, columns), float32."""
        check_is_fitted(self, "mean_")
        scaled = X.astype(np.float32, copy=False) - self.mean_
        scaled /= self.spread_
        return np.clip(scaled, -FARTHEST, FARTHEST, out=scaled)


class LesionDescriptors(TransformerMixin, BaseEstimator):
    """Turn flat pixel rows into standardised numbers that do not change when a picture is turned or mirrored.

    `skinmnist.features.descriptors.describe` and `Standardiser` in one, for use in a pipeline on pixel
    rows. In a comparison the two are apart: pictures are described once, and standardised in every fold.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture; rows have their product as length.

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
            Where rows have another length or type, or pictures are too small.
        """
        self.standardiser_ = Standardiser().fit(describe(X, self.shape))
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the standardised descriptors of pixel rows, shape (n, numbers), float32."""
        check_is_fitted(self, "standardiser_")
        return self.standardiser_.transform(describe(X, self.shape))

    def get_feature_names_out(self, input_features: None = None) -> npt.NDArray[np.object_]:
        """Return the name of every number, shape (numbers,)."""
        return np.asarray(descriptor_names(self.shape), dtype=object)
