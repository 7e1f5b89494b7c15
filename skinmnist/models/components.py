"""Principal components: pictures as a few numbers, with their distances kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA

COMPONENTS = 64


def n_components(rows: int, columns: int, limit: int = COMPONENTS) -> int:
    """Return how many components are kept of so many rows and columns."""
    return min(limit, rows, columns)


class Components(TransformerMixin, BaseEstimator):
    """Project pixel rows on their leading principal components, divided by one common scale.

    Components share one scale instead of being whitened one by one: the distances between pictures stay
    what they were, and an RBF kernel and SMOTE's neighbours both live on distances.

    Parameters
    ----------
    n_components : int
        Lowered where there are fewer columns or rows.
    random_state : int
        Seed of the randomized decomposition (Halko, Martinsson & Tropp 2011).

    Attributes
    ----------
    pca_ : PCA
    scale_ : float
        Root mean square of the training components; they are divided by it.
    """

    def __init__(self, n_components: int = COMPONENTS, random_state: int = 0) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: npt.NDArray[Any], y: None = None) -> Components:
        """Find the components of pixel rows of shape (n, features)."""
        kept = n_components(X.shape[0], X.shape[1], self.n_components)
        self.pca_ = PCA(kept, svd_solver="randomized", random_state=self.random_state)
        scores = self.pca_.fit_transform(X.astype(np.float32, copy=False))
        self.scale_ = float(np.sqrt(np.mean(scores**2))) or 1.0
        return self

    def transform(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the components of pixel rows, shape (n, kept), float32."""
        # Centred before, not after as PCA does: of pixels, that would lose two digits.
        centred = X.astype(np.float32, copy=False) - self.pca_.mean_
        return (centred @ self.pca_.components_.T) / self.scale_
