"""Predict probabilities with classic models in numpy, without the training libraries.

Each head performs the same operations, with the same data types, as the scikit-learn model from which it was
exported, so both predict the same probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.inference.kernel import kernel_decisions
from skinmnist.inference.manifest import Arrays, UnreadableError, entry, number, whole

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.intp]
#: Maps float32 rows to transformed rows; the reader of a step returns it and the width of its output.
Step = Callable[[Floats], Floats]
#: Maps rows to probabilities of shape (n, k).
Head = Callable[[Floats], npt.NDArray[np.float64]]

#: Maximum depth of a tree, and maximum number of trees in a model.
MOST_STEPS, MOST_TREES = 100, 5000
#: Number of leaf values in memory at a time, which makes memory use independent of the number of rows.
_BLOCK_LEAVES = 1_000_000


def softmax(scores: Floats) -> npt.NDArray[np.float64]:
    """Convert scores to probabilities; for two classes, a single score belongs to the second class."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def n_scores(n_classes: int) -> int:
    """Return the number of scores of a linear model: 1 for two classes, otherwise the number of classes."""
    return 1 if n_classes == 2 else n_classes


def _check_probabilities(rows: Floats) -> None:
    if (rows < 0).any() or (np.abs(rows.sum(axis=1) - 1) > 1e-3).any():
        raise UnreadableError("its probabilities are negative or do not sum to 1")


def read_standardise(step: Any, arrays: Arrays, width: int) -> tuple[Step, int]:
    """Read a scaler that standardises features and clips extreme values."""
    means, scales = arrays.floats("feature_mean", (width,)), arrays.floats("feature_scale", (width,))
    farthest = number(entry(step, "farthest"), "farthest", 0, 1e6)

    def standardise(rows: Floats) -> Floats:
        scaled = (rows.astype(np.float32, copy=False) - means) / scales
        return np.clip(scaled, -farthest, farthest, out=scaled)

    return standardise, width


def read_project(step: Any, arrays: Arrays, width: int) -> tuple[Step, int]:
    """Read a projection onto principal components, followed by division by a common scale."""
    n_axes = whole(entry(step, "axes"), "axes", 1, width)
    means, axes = arrays.floats("axis_mean", (width,)), arrays.floats("axis", (n_axes, width))
    scale = number(entry(step, "scale"), "scale", 1e-12, 1e12)
    return lambda rows: ((rows.astype(np.float32, copy=False) - means) @ axes.T) / scale, n_axes


def read_linear(head: Any, arrays: Arrays, width: int, n_classes: int) -> Head:
    """Read a multinomial logistic regression model."""
    scores = n_scores(n_classes)
    weights = arrays.floats("linear_weight", (scores, width))
    offsets = arrays.floats("linear_offset", (scores,))
    return lambda rows: softmax(rows @ weights.T + offsets)


def read_kernel_machine(head: Any, arrays: Arrays, width: int, n_classes: int) -> Head:
    """Read a one-vs-one support vector machine with an RBF kernel and joint calibration."""
    pairs = n_classes * (n_classes - 1) // 2
    vectors = arrays.floats("vector", (None, width)).astype(np.float64)
    weights = arrays.floats("vector_weight", (len(vectors), pairs))
    offsets = arrays.floats("pair_offset", (pairs,))
    gamma = number(entry(head, "gamma"), "gamma", 0, 1e6)
    means, scales = arrays.floats("pair_mean", (pairs,)), arrays.floats("pair_scale", (pairs,))
    calibration = read_linear(head, arrays, pairs, n_classes)

    def answer(rows: Floats) -> npt.NDArray[np.float64]:
        decisions = kernel_decisions(rows, vectors, weights, offsets, gamma)
        return calibration((decisions - means) / scales)

    return answer


@dataclass(frozen=True, eq=False)
class Trees:
    """Nodes of all trees in flat arrays; children come after their parent, and a leaf is its own child.

    A row goes to the left child if its value in the node's column is at most the node's threshold. `leaves`
    maps each leaf to its row of `values`, shape (leaves, outputs), and `steps` is the maximum depth.
    """

    roots: Indices
    columns: Indices
    thresholds: Floats
    left: Indices
    right: Indices
    leaves: Indices
    values: Floats
    steps: int

    @classmethod
    def read(cls, arrays: Arrays, width: int, outputs: int) -> Trees:
        """Read the trees of a model file and check that every node except the roots has one parent."""
        thresholds = arrays.floats("node_threshold", (None,))
        nodes = len(thresholds)
        left = arrays.integers("node_left", (nodes,), nodes - 1)
        right = arrays.integers("node_right", (nodes,), nodes - 1)
        roots = arrays.integers("tree_root", (None,), nodes - 1)
        values = arrays.floats("leaf_value", (None, outputs))
        return cls(
            roots=roots,
            columns=arrays.integers("node_column", (nodes,), width - 1),
            thresholds=thresholds,
            left=left,
            right=right,
            leaves=arrays.integers("node_leaf", (nodes,), len(values) - 1),
            values=values,
            steps=_count_steps(roots, left, right),
        )

    def total(self, rows: Floats) -> npt.NDArray[np.float64]:
        """Return the sum of the leaf values over all trees, shape (n, outputs)."""
        step = max(1, _BLOCK_LEAVES // (len(self.roots) * self.values.shape[1]))
        parts = [self._total(rows[start : start + step]) for start in range(0, len(rows), step)]
        return np.concatenate(parts)

    def _total(self, rows: Floats) -> npt.NDArray[np.float64]:
        """Descend all trees one level at a time for all rows."""
        place = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        which = np.arange(len(rows))[:, None]
        for _ in range(self.steps):
            goes_left = rows[which, self.columns[place]] <= self.thresholds[place]
            place = np.where(goes_left, self.left[place], self.right[place])
        return self.values[self.leaves[place]].sum(axis=1, dtype=np.float64)


def _count_steps(roots: Indices, left: Indices, right: Indices) -> int:
    own = np.arange(len(left))
    inner = left != own
    parents = np.bincount(left[inner], minlength=len(own)) + np.bincount(right[inner], minlength=len(own))
    parents += np.bincount(roots, minlength=len(own))
    connected = (parents == 1).all() and (left >= own).all() and (right[inner] > own[inner]).all()
    if not connected or len(roots) > MOST_TREES or (right[~inner] != own[~inner]).any():
        raise UnreadableError("its trees are not connected")
    front = roots
    for steps in range(MOST_STEPS + 1):
        front = front[inner[front]]
        if not len(front):
            return steps
        front = np.concatenate([left[front], right[front]])
    raise UnreadableError(f"its trees are more than {MOST_STEPS} levels deep")


def read_forest(head: Any, arrays: Arrays, width: int, n_classes: int) -> Head:
    """Read a random forest, which averages the leaf values of its trees.

    If ``levels`` is not 0, inputs are first rounded to multiples of ``1 / levels``.
    """
    trees = Trees.read(arrays, width, n_classes)
    _check_probabilities(trees.values)
    levels = number(entry(head, "levels"), "levels", 0, 1e6)

    def answer(rows: Floats) -> npt.NDArray[np.float64]:
        rows = np.asarray(rows, dtype=np.float32)
        return trees.total(np.rint(rows * np.float32(levels)) if levels else rows) / len(trees.roots)

    return answer


def read_boosted_trees(head: Any, arrays: Arrays, width: int, n_classes: int) -> Head:
    """Read gradient-boosted trees, which add the leaf values to an initial score."""
    scores = n_scores(n_classes)
    trees, start = Trees.read(arrays, width, scores), arrays.floats("start", (scores,))
    return lambda rows: softmax(start + trees.total(rows))


def read_constant(head: Any, arrays: Arrays, width: int, n_classes: int) -> Head:
    """Read a constant model, which predicts the same probabilities for every picture."""
    probabilities = arrays.floats("probability", (n_classes,))
    _check_probabilities(probabilities[None])
    return lambda rows: np.tile(np.asarray(probabilities, dtype=np.float64), (len(rows), 1))


#: Readers by name in the manifest.
STEPS = {"standardise": read_standardise, "project": read_project}
HEADS = {
    "linear": read_linear,
    "kernel_machine": read_kernel_machine,
    "forest": read_forest,
    "boosted_trees": read_boosted_trees,
    "constant": read_constant,
}
