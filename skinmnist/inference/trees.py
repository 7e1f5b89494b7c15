"""Decision trees as arrays: all trees of a model take one step at a time, for many rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinmnist.inference.arrays import Arrays
from skinmnist.inference.checks import UnreadableError

#: Steps from a root to the farthest leaf, and trees of one model.
MOST_STEPS, MOST_TREES = 100, 5000
#: Leaves' numbers that are held at a time, so that memory does not follow the rows.
_BLOCK_NUMBERS = 1_000_000


@dataclass(frozen=True, eq=False)
class Trees:
    """Nodes of all trees in one list; a child stands behind its parent, and a leaf is its own child.

    Attributes
    ----------
    roots : ndarray of shape (trees,)
        Where each tree begins.
    columns, thresholds : ndarray of shape (nodes,)
        A row goes left where its number in this column is at most the threshold.
    left, right : ndarray of shape (nodes,)
    leaves : ndarray of shape (nodes,)
        Row of `values` that belongs to a leaf; 0 elsewhere.
    values : ndarray of shape (leaves, outputs)
    steps : int
        From a root to the farthest leaf.
    """

    roots: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    thresholds: npt.NDArray[np.floating]
    left: npt.NDArray[np.intp]
    right: npt.NDArray[np.intp]
    leaves: npt.NDArray[np.intp]
    values: npt.NDArray[np.floating]
    steps: int

    @classmethod
    def read(cls, arrays: Arrays, width: int, outputs: int) -> Trees:
        """Take the trees out of a model file.

        Raises
        ------
        UnreadableError
            Where they are no trees: every node but the roots must have one parent.
        """
        thresholds = arrays.floats("node_threshold", (None,))
        nodes = len(thresholds)
        left = arrays.integers("node_left", (nodes,), 0, nodes - 1)
        right = arrays.integers("node_right", (nodes,), 0, nodes - 1)
        roots = arrays.integers("tree_root", (None,), 0, nodes - 1)
        values = arrays.floats("leaf_value", (None, outputs))
        return cls(
            roots=roots,
            columns=arrays.integers("node_column", (nodes,), 0, width - 1),
            thresholds=thresholds,
            left=left,
            right=right,
            leaves=arrays.integers("node_leaf", (nodes,), 0, len(values) - 1),
            values=values,
            steps=_count_steps(roots, left, right),
        )

    def total(self, rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the sum of the leaves' values over all trees, shape (n, outputs)."""
        step = max(1, _BLOCK_NUMBERS // (len(self.roots) * self.values.shape[1]))
        parts = [self._total(rows[start : start + step]) for start in range(0, len(rows), step)]
        return np.concatenate(parts)

    def _total(self, rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        place = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        which = np.arange(len(rows))[:, None]
        for _ in range(self.steps):
            goes_left = rows[which, self.columns[place]] <= self.thresholds[place]
            place = np.where(goes_left, self.left[place], self.right[place])
        return self.values[self.leaves[place]].sum(axis=1, dtype=np.float64)


def _count_steps(roots: npt.NDArray[np.intp], left: npt.NDArray[np.intp], right: npt.NDArray[np.intp]) -> int:
    own = np.arange(len(left))
    inner = left != own
    parents = np.bincount(left[inner], minlength=len(own)) + np.bincount(right[inner], minlength=len(own))
    parents += np.bincount(roots, minlength=len(own))
    whole = (parents == 1).all() and (left >= own).all() and (right[inner] > own[inner]).all()
    if not whole or len(roots) > MOST_TREES or (right[~inner] != own[~inner]).any():
        raise UnreadableError("its trees do not hang together")
    front = roots
    for steps in range(MOST_STEPS + 1):
        front = front[inner[front]]
        if not len(front):
            return steps
        front = np.concatenate([left[front], right[front]])
    raise UnreadableError(f"its trees are more than {MOST_STEPS} steps high")
