"""Numbers that describe pictures, made once for all the cells that a process works on.

No number depends on another picture, so describing before the split leaks nothing. The numbers of a large
table would fill the memory: there each cell describes the pictures that it uses, block by block.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.mapped import MappedRows, row_blocks
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.splits import LEFT_OUT

#: Pictures of a large table that are described together.
BLOCK_ROWS = 4096


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


def extract_table_features(
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


def extract_row_features(
    rows: MappedRows, describe: Callable[[Any, tuple[int, int, int]], Any], shape: tuple[int, int, int]
) -> npt.NDArray[np.floating]:
    """Describe pictures block by block; memory beyond what is returned does not follow their number."""
    parts = (
        np.asarray(describe(np.asarray(rows[block]), shape)) for block in row_blocks(len(rows), BLOCK_ROWS)
    )
    first = next(parts)
    numbers = np.empty((len(rows), first.shape[1]), dtype=first.dtype)
    numbers[: len(first)] = first
    for block, part in zip(list(row_blocks(len(rows), BLOCK_ROWS))[1:], parts, strict=True):
        numbers[block] = part
    return numbers


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
