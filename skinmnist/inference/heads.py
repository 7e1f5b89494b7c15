"""From numbers to probabilities, without what has trained them: the classic models as numpy computes them.

Every head takes the same steps in the same types as the scikit-learn model it was made of, so that both give
the same probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.inference.arrays import Arrays
from skinmnist.inference.checks import UnreadableError, entry, number, whole
from skinmnist.inference.trees import Trees

Floats = npt.NDArray[np.floating]
#: Rows of numbers to probabilities of shape (n, k).
Head = Callable[[Floats], npt.NDArray[np.float64]]

#: Kernel values that are held at a time, so that memory does not follow the rows.
_BLOCK_VALUES = 4_000_000


def softmax(scores: Floats) -> npt.NDArray[np.float64]:
    """Turn scores into probabilities; a single score is that of the second of two classes."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _check_shares(rows: Floats) -> None:
    if (rows < 0).any() or (np.abs(rows.sum(axis=1) - 1) > 1e-3).any():
        raise UnreadableError("its probabilities are none")


def n_scores(n_classes: int) -> int:
    """Return how many scores a linear model gives: two classes share one."""
    return 1 if n_classes == 2 else n_classes


@dataclass(frozen=True, eq=False)
class Linear:
    """Multinomial logistic regression, ``linear_*`` in a file."""

    weights: Floats
    offsets: Floats

    @classmethod
    def read(cls, step: Any, arrays: Arrays, width: int, n_classes: int) -> Linear:
        """Take it out of a model file."""
        scores = n_scores(n_classes)
        return cls(arrays.floats("linear_weight", (scores, width)), arrays.floats("linear_offset", (scores,)))

    def __call__(self, rows: Floats) -> npt.NDArray[np.float64]:
        """Return probabilities of rows of shape (n, width)."""
        return softmax(rows @ self.weights.T + self.offsets)


@dataclass(frozen=True, eq=False)
class KernelMachine:
    """A support vector machine with a radial kernel for each pair of classes, calibrated by a regression."""

    vectors: Floats
    weights: Floats
    offsets: Floats
    gamma: float
    means: Floats
    spreads: Floats
    calibration: Linear

    @classmethod
    def read(cls, step: Any, arrays: Arrays, width: int, n_classes: int) -> KernelMachine:
        """Take it out of a model file."""
        pairs = n_classes * (n_classes - 1) // 2
        vectors = arrays.floats("vector", (None, width)).astype(np.float64)
        return cls(
            vectors=vectors,
            weights=arrays.floats("vector_weight", (len(vectors), pairs)),
            offsets=arrays.floats("pair_offset", (pairs,)),
            gamma=number(entry(step, "gamma"), "gamma", 0, 1e6),
            means=arrays.floats("pair_mean", (pairs,)),
            spreads=arrays.floats("pair_spread", (pairs,)),
            calibration=Linear.read(step, arrays, pairs, n_classes),
        )

    def __call__(self, rows: Floats) -> npt.NDArray[np.float64]:
        """Return probabilities of rows of shape (n, width)."""
        return self.calibration((self.decisions(rows) - self.means) / self.spreads)

    def decisions(self, rows: Floats) -> npt.NDArray[np.float64]:
        """Return the decision value of each pair of classes, shape (n, pairs)."""
        rows = np.asarray(rows, dtype=np.float64)
        squares = np.einsum("ij,ij->i", self.vectors, self.vectors)
        step = max(1, _BLOCK_VALUES // len(self.vectors))
        found = []
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            kernel = block @ self.vectors.T
            kernel *= 2
            kernel -= squares
            kernel -= np.einsum("ij,ij->i", block, block)[:, None]
            kernel *= self.gamma
            np.exp(kernel, out=kernel)
            found.append(kernel @ self.weights + self.offsets)
        return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class Forest:
    """A random forest: the mean of what its trees' leaves hold.

    ``levels``, where it is not 0, rounds numbers to so many steps in each unit before.
    """

    trees: Trees
    levels: float

    @classmethod
    def read(cls, step: Any, arrays: Arrays, width: int, n_classes: int) -> Forest:
        """Take it out of a model file."""
        trees = Trees.read(arrays, width, n_classes)
        _check_shares(trees.values)
        return cls(trees, number(entry(step, "levels"), "levels", 0, 1e6))

    def __call__(self, rows: Floats) -> npt.NDArray[np.float64]:
        """Return probabilities of rows of shape (n, width)."""
        rows = np.asarray(rows, dtype=np.float32)
        if self.levels:
            rows = np.rint(rows * np.float32(self.levels))
        return self.trees.total(rows) / len(self.trees.roots)


@dataclass(frozen=True, eq=False)
class BoostedTrees:
    """Boosted trees: a start, and what all leaves add to the scores."""

    trees: Trees
    start: Floats

    @classmethod
    def read(cls, step: Any, arrays: Arrays, width: int, n_classes: int) -> BoostedTrees:
        """Take it out of a model file."""
        scores = n_scores(n_classes)
        return cls(Trees.read(arrays, width, scores), arrays.floats("start", (scores,)))

    def __call__(self, rows: Floats) -> npt.NDArray[np.float64]:
        """Return probabilities of rows of shape (n, width)."""
        return softmax(self.start + self.trees.total(rows))


@dataclass(frozen=True, eq=False)
class Constant:
    """The same answer to every picture."""

    probabilities: Floats

    @classmethod
    def read(cls, step: Any, arrays: Arrays, width: int, n_classes: int) -> Constant:
        """Take it out of a model file."""
        probabilities = arrays.floats("probability", (n_classes,))
        _check_shares(probabilities[None])
        return cls(probabilities)

    def __call__(self, rows: Floats) -> npt.NDArray[np.float64]:
        """Return probabilities of rows of shape (n, width)."""
        return np.tile(np.asarray(self.probabilities, dtype=np.float64), (len(rows), 1))


@dataclass(frozen=True, eq=False)
class Standardise:
    """Numbers in standard deviations from their mean, cut where they lie far out."""

    means: Floats
    spreads: Floats
    farthest: float

    @classmethod
    def read(cls, step: Any, arrays: Arrays, width: int) -> Standardise:
        """Take it out of a model file."""
        return cls(
            arrays.floats("number_mean", (width,)),
            arrays.floats("number_spread", (width,)),
            number(entry(step, "farthest"), "farthest", 0, 1e6),
        )

    @property
    def width(self) -> int:
        """Length of the rows that come out."""
        return len(self.means)

    def __call__(self, rows: Floats) -> Floats:
        """Return rows of the same shape, float32."""
        scaled = (rows.astype(np.float32, copy=False) - self.means) / self.spreads
        return np.clip(scaled, -self.farthest, self.farthest, out=scaled)


@dataclass(frozen=True, eq=False)
class Project:
    """Numbers on their main axes, divided by one scale."""

    means: Floats
    axes: Floats
    scale: float

    @classmethod
    def read(cls, step: Any, arrays: Arrays, width: int) -> Project:
        """Take it out of a model file."""
        kept = whole(entry(step, "axes"), "axes", 1, width)
        return cls(
            arrays.floats("axis_mean", (width,)),
            arrays.floats("axis", (kept, width)),
            number(entry(step, "scale"), "scale", 1e-12, 1e12),
        )

    @property
    def width(self) -> int:
        """Length of the rows that come out."""
        return len(self.axes)

    def __call__(self, rows: Floats) -> Floats:
        """Return rows of shape (n, kept), float32."""
        return ((rows.astype(np.float32, copy=False) - self.means) @ self.axes.T) / self.scale


HEADS: dict[str, type[Any]] = {
    "linear": Linear,
    "kernel_machine": KernelMachine,
    "forest": Forest,
    "boosted_trees": BoostedTrees,
    "constant": Constant,
}
