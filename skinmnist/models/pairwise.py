"""A support vector machine that answers with matrix products.

libsvm, which scikit-learn's `SVC` is made of, compares every row with every support vector by itself. The
same kernel values come out of one product of two matrices, at a fraction of the cost.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

#: Kernel values that are held at a time, so that memory does not follow the rows.
BLOCK_VALUES = 4_000_000


class PairwiseSVC(SVC):
    """`SVC` with a radial kernel and one machine for each pair of classes, quick to answer.

    Decision values are those of ``SVC(decision_function_shape="ovo")`` and decisions are its votes, up to
    the rounding of sums; fitting is libsvm's own.

    Parameters
    ----------
    C, gamma : float
        Penalty, and the kernel's inverse squared width.
    tol : float
        How near to the optimum libsvm stops.
    cache_size : float
        Megabytes that libsvm may keep kernel values in.
    """

    def __init__(
        self, C: float = 1.0, gamma: float = 1.0, tol: float = 1e-3, cache_size: float = 400
    ) -> None:
        super().__init__(C=C, gamma=gamma, tol=tol, decision_function_shape="ovo", cache_size=cache_size)

    def decision_function(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the decision values of each pair of classes, shape (m, pairs); (m,) of two classes."""
        check_is_fitted(self)
        rows = np.asarray(X, dtype=np.float64)
        vectors = self.support_vectors_
        weights, intercepts = self.pair_weights()
        squares = np.einsum("ij,ij->i", vectors, vectors)
        found = np.empty((len(rows), weights.shape[1]))
        step = max(1, BLOCK_VALUES // max(1, len(vectors)))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            kernel = block @ vectors.T
            kernel *= 2
            kernel -= squares
            kernel -= np.einsum("ij,ij->i", block, block)[:, None]
            kernel *= self.gamma
            np.exp(kernel, out=kernel)
            np.matmul(kernel, weights, out=found[start : start + step])
        found += intercepts
        return found[:, 0] if found.shape[1] == 1 else found

    def predict(self, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the class that wins most pairs, the first of them where several do."""
        return self.decide(self.decision_function(X))

    def decide(self, decisions: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the decisions that follow from decision values, shape (m,)."""
        if decisions.ndim == 1:
            return self.classes_[(decisions > 0).astype(int)]
        votes = np.zeros((len(decisions), len(self.classes_)), dtype=np.int64)
        for pair, (first, second) in enumerate(combinations(range(len(self.classes_)), 2)):
            won = decisions[:, pair] > 0
            votes[:, first] += won
            votes[:, second] += ~won
        return self.classes_[votes.argmax(axis=1)]

    def pair_weights(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return each pair's weights of all support vectors, shape (vectors, pairs), and its intercept.

        libsvm keeps the weights of a class's vectors against the k - 1 other classes in k - 1 rows.
        """
        ends = np.cumsum(self.n_support_)
        own = [slice(end - size, end) for size, end in zip(self.n_support_, ends, strict=True)]
        pairs = list(combinations(range(len(own)), 2))
        weights = np.zeros((len(self.support_vectors_), len(pairs)))
        for pair, (first, second) in enumerate(pairs):
            weights[own[first], pair] = self.dual_coef_[second - 1, own[first]]
            weights[own[second], pair] = self.dual_coef_[first, own[second]]
        return weights, self.intercept_
