"""Numbers that describe pictures, made once for all the cells that a process works on.

No number depends on another picture, so describing before the split leaks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.table import PixelTable
from skinmnist.evaluation.folds import LEFT_OUT


@dataclass(frozen=True, eq=False)
class Description:
    """The numbers of a table's pictures, and what they cost.

    Attributes
    ----------
    numbers : ndarray of shape (n, numbers)
        NaN for pictures that take part in no fold.
    seconds : float
        Wall seconds for one picture. Every cell is charged for all pictures that it uses, whichever cell
        came first, so that costs of models can be compared.
    """

    numbers: npt.NDArray[np.floating]
    seconds: float


def describe_table(
    table: PixelTable,
    describe: Callable[[Any, tuple[int, int, int]], Any],
    fold_of: npt.NDArray[np.integer],
) -> Description:
    """Describe the pictures that take part in folds, once in a process.

    Parameters
    ----------
    table : PixelTable
    describe : callable
        See `skinmnist.models.spec.ModelSpec`.
    fold_of : ndarray of shape (n,)
        Fold of each picture, or ``LEFT_OUT``.
    """
    # All in one go and in their own order: sums over other batches would differ in their last digit.
    return _describe_once(table, describe, (fold_of != LEFT_OUT).tobytes())


@lru_cache(maxsize=1)
def _describe_once(
    table: PixelTable, describe: Callable[[Any, tuple[int, int, int]], Any], kept: bytes
) -> Description:
    rows = np.flatnonzero(np.frombuffer(kept, dtype=bool))
    start = time.perf_counter()
    found = np.asarray(describe(np.asarray(table.pixels[rows]), table.shape))
    seconds = time.perf_counter() - start
    numbers = np.full((len(table), found.shape[1]), np.nan, dtype=found.dtype)
    numbers[rows] = found
    return Description(numbers, seconds / len(rows))
