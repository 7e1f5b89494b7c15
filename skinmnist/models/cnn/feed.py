"""How rows reach the training graph: all of them at once, or those of some batches after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.mapped import MappedRows, row_blocks
from skinmnist.models.cnn.backend import tf
from skinmnist.models.cnn.ensemble import Rows

#: Batches whose rows are read together where they stand in a file.
FED_STEPS = 64


class Feed:
    """Hands the rows of batches to the graph: all rows once, or those of some batches after the other.

    Parameters
    ----------
    rows : Rows
        Its pictures are read as they are needed where they are `MappedRows`.
    weights : ndarray of shape (n,)
    seed : int
        Of what the graph draws.
    """

    def __init__(self, rows: Rows, weights: npt.NDArray[np.floating], seed: int) -> None:
        self.rows, self.weights, self.seed = rows, weights, np.int32(seed)
        self._all = None if isinstance(rows.pictures, MappedRows) else self._tensors(slice(None))

    def run(
        self, run_steps: Callable[..., Any], order: npt.NDArray[np.integer], rates: Any, first_step: int
    ) -> tuple[float, float]:
        """Make a step for each batch of row numbers; return the means of loss and accuracy."""
        if self._all is not None:
            found = run_steps(*self._all, order.astype(np.int32), rates, np.int32(first_step), self.seed)
            return float(found[0]), float(found[1])
        sums = np.zeros(2)
        for part in row_blocks(len(order), FED_STEPS):
            # In ascending order the file is read from front to end.
            needed, place = np.unique(order[part], return_inverse=True)
            batches = place.reshape(order[part].shape).astype(np.int32)
            step = np.int32(first_step + part.start)
            found = run_steps(*self._tensors(needed), batches, rates[part], step, self.seed)
            sums += np.array(found, dtype=float) * len(batches)
        return float(sums[0] / len(order)), float(sums[1] / len(order))

    def _tensors(self, which: slice | npt.NDArray[np.integer]) -> tuple[tf.Tensor, ...]:
        return (
            tf.constant(np.asarray(self.rows.pictures[which])),
            tf.constant(self.rows.numbers[which]),
            tf.constant(self.rows.codes[which], tf.int32),
            tf.constant(self.weights[which], tf.float32),
        )
