"""SMOTE in less memory: features like those of imbalanced-learn, or whole pixels, written to one array.

SMOTE itself collects the new rows of all classes before it joins them, which takes twice the memory of the
result, and it generates float32 rows, which take four times that of pixels.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from imblearn.over_sampling import SMOTE
from scipy.sparse import csr_matrix, identity
from sklearn.neighbors import NearestNeighbors

#: Number of rows interpolated at a time.
BLOCK = 1000


class NeighboursOfRows(NearestNeighbors):
    """Nearest neighbours among rows given by index, encoded as sparse rows with a single 1.

    `n_neighbors` includes the row itself.
    """

    def __init__(self, rows: npt.NDArray[Any] | None = None, n_neighbors: int = 6) -> None:
        super().__init__(n_neighbors=n_neighbors)
        self.rows = rows

    def __sklearn_clone__(self) -> NeighboursOfRows:
        # A clone would copy all rows. Sharing is safe, because the object is refitted for each class.
        return self

    def fit(self, X: csr_matrix, y: None = None) -> NeighboursOfRows:
        """Fit on the rows encoded by X, shape (m, n)."""
        super().fit(self._named(X))
        return self

    def kneighbors(self, X: csr_matrix, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
        """Return the neighbours of the rows encoded by X among the fitted rows."""
        return super().kneighbors(self._named(X), n_neighbors, return_distance)

    def _named(self, X: csr_matrix) -> npt.NDArray[np.float32]:
        return np.asarray(self.rows)[X.indices].astype(np.float32)


def smote(
    sampler: SMOTE, rows: npt.NDArray[Any], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Apply SMOTE to uint8 pixels or to features, which become float32; see the two functions below.

    Examples
    --------
    >>> rows, labels = np.arange(8).reshape(4, 2), np.array([0, 0, 1, 0])
    >>> smote(SMOTE(sampling_strategy={0: 5}, k_neighbors=2), rows, labels)[1].tolist()
    [0, 0, 1, 0, 0, 0]
    """
    if rows.dtype == np.uint8:
        return smote_pixels(sampler, rows, labels)
    return smote_features(sampler, rows.astype(np.float32, copy=False), labels)


def smote_pixels(
    sampler: SMOTE, rows: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Apply SMOTE to pixel rows and round new rows to integers; the original rows come first.

    The sampler is modified, and its `k_neighbors` must be an integer. It is applied to the identity matrix,
    so each new row contains the weights of its two parents. Neighbours are still determined from the pixels,
    which gives the same result as plain SMOTE.
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
        # Weights are non-negative and sum to 1, so no value leaves the range from 0 to 255.
        mixed[start : start + BLOCK] = np.rint(narrow @ rows[parents].astype(np.float64))
    return mixed, np.asarray(new_labels)


def smote_features(
    sampler: SMOTE, rows: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Apply SMOTE to feature rows, one class at a time; the result equals that of ``fit_resample``."""
    wanted = {code: more for code, more in sampler.fit(rows, labels).sampling_strategy_.items() if more}
    new_labels = [np.full(more, code, dtype=labels.dtype) for code, more in wanted.items()]
    mixed = np.empty((len(rows) + sum(wanted.values()), rows.shape[1]), dtype=rows.dtype)
    mixed[: len(rows)] = rows
    start = len(rows)
    one = copy(sampler)  # A clone would not share a random state, which goes on from class to class.
    for code, more in wanted.items():
        own = labels == code
        one.set_params(sampling_strategy={code: int(np.count_nonzero(own)) + more})
        # SMOTE looks for neighbours within a class only, but it expects a row of another class.
        own[np.argmin(own)] = True
        both = rows[own]
        mixed[start : start + more] = one.fit_resample(both, labels[own])[0][len(both) :]
        start += more
    return mixed, np.concatenate([labels, *new_labels])
