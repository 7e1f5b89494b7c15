"""Compute decision values of support vector machines for training and inference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: Number of kernel values in memory at a time, which makes memory use independent of the number of rows.
BLOCK_VALUES = 4_000_000

_Floats = npt.NDArray[np.floating]


def kernel_decisions(
    rows: npt.NDArray[Any], vectors: _Floats, weights: _Floats, offsets: _Floats, gamma: float
) -> npt.NDArray[np.float64]:
    """Return the decision values of an RBF kernel for each pair of classes, shape (n, pairs)."""
    rows = np.asarray(rows, dtype=np.float64)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    decisions = np.empty((len(rows), weights.shape[1]))
    step = max(1, BLOCK_VALUES // max(1, len(vectors)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        kernel = block @ vectors.T
        kernel *= 2
        kernel -= squares
        kernel -= np.einsum("ij,ij->i", block, block)[:, None]
        kernel *= gamma
        np.exp(kernel, out=kernel)
        np.matmul(kernel, weights, out=decisions[start : start + step])
    decisions += offsets
    return decisions
