"""Memory-efficient SMOTE on pixels: new rows are weighted means of two rows, computed in blocks.

The float32 rows that SMOTE makes from 28 x 28 pixels, copied when classes are joined, take eight times the
memory of whole grey levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from imblearn.over_sampling import SMOTE
from scipy.sparse import csr_matrix, identity
from sklearn.neighbors import NearestNeighbors

#: Rows that are interpolated at a time.
BLOCK = 1000


class NeighboursOfRows(NearestNeighbors):
    """Nearest neighbours among rows given by index: each is a sparse row with a single 1.

    `n_neighbors` counts the row itself.
    """

    def __init__(self, rows: npt.NDArray[Any] | None = None, n_neighbors: int = 6) -> None:
        super().__init__(n_neighbors=n_neighbors)
        self.rows = rows

    def __sklearn_clone__(self) -> NeighboursOfRows:
        # A clone would copy all rows; nothing learned from one class can leak to another.
        return self

    def fit(self, X: csr_matrix, y: None = None) -> NeighboursOfRows:
        """Fit on the rows given by X, shape (m, n)."""
        super().fit(self._named(X))
        return self

    def kneighbors(self, X: csr_matrix, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
        """Return the neighbours of the rows given by X among the fitted rows."""
        return super().kneighbors(self._named(X), n_neighbors, return_distance)

    def _named(self, X: csr_matrix) -> npt.NDArray[np.float32]:
        return np.asarray(self.rows)[X.indices].astype(np.float32)


def smote_pixels(
    sampler: SMOTE, rows: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Apply SMOTE to pixel rows and round new rows to whole grey levels; the originals come first.

    The sampler, whose `k_neighbors` must be a number and which is modified, works on the rows of the identity
    matrix, so that a new row holds the weights of its two parents. Neighbours are searched among the pixels,
    so that the sample is the same as that of plain SMOTE.
    """
    n = len(rows)
    sampler.set_params(k_neighbors=NeighboursOfRows(rows, sampler.k_neighbors + 1))
    shares, new_labels = sampler.fit_resample(identity(n, format="csr"), labels)
    shares = csr_matrix(shares)
    mixed = np.empty((shares.shape[0], rows.shape[1]), dtype=np.uint8)
    mixed[:n] = rows
    for start in range(n, len(mixed), BLOCK):
        block = shares[start : start + BLOCK]
        parents, place = np.unique(block.indices, return_inverse=True)
        narrow = csr_matrix((block.data, place, block.indptr), shape=(block.shape[0], len(parents)))
        # Weights are at least 0 and sum to 1, so no grey level leaves the range.
        mixed[start : start + BLOCK] = np.rint(narrow @ rows[parents].astype(np.float64))
    return mixed, np.asarray(new_labels)
