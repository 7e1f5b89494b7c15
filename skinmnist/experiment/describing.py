"""Features of images, extracted once for all the cells that a process works on.

No feature depends on another image, so extracting before the split leaks nothing. The features of a large
table would fill the memory: there each cell extracts those of the images that it uses, block by block.
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

#: Images of a large table whose features are extracted together.
BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class TableFeatures:
    """The features of a table's images, and what they cost.

    Attributes
    ----------
    values : ndarray of shape (n, features)
        NaN for images that take part in no fold.
    seconds : float
        Wall seconds for one image. Every cell is charged for all images that it uses, whichever cell
        came first, so that costs of models can be compared.
    """

    values: npt.NDArray[np.floating]
    seconds: float


def extract_table_features(
    table: PixelTable,
    extract: Callable[[Any, tuple[int, int, int]], Any],
    fold_of: npt.NDArray[np.integer],
) -> TableFeatures:
    """Extract the features of the images that take part in folds, once in a process.

    Parameters
    ----------
    table : PixelTable
    extract : callable
        See `skinmnist.models.spec.FeatureSettings`.
    fold_of : ndarray of shape (n,)
        Fold of each image, or ``LEFT_OUT``.
    """
    # All in one go and in their own order: sums over other batches would differ in their last digit.
    return _extract_once(table, extract, (fold_of != LEFT_OUT).tobytes())


def extract_row_features(
    rows: MappedRows, extract: Callable[[Any, tuple[int, int, int]], Any], shape: tuple[int, int, int]
) -> npt.NDArray[np.floating]:
    """Extract features block by block; memory beyond what is returned does not grow with their number."""
    parts = (
        np.asarray(extract(np.asarray(rows[block]), shape)) for block in row_blocks(len(rows), BLOCK_ROWS)
    )
    first = next(parts)
    values = np.empty((len(rows), first.shape[1]), dtype=first.dtype)
    values[: len(first)] = first
    for block, part in zip(list(row_blocks(len(rows), BLOCK_ROWS))[1:], parts, strict=True):
        values[block] = part
    return values


@lru_cache(maxsize=1)
def _extract_once(
    table: PixelTable, extract: Callable[[Any, tuple[int, int, int]], Any], taking_part: bytes
) -> TableFeatures:
    rows = np.flatnonzero(np.frombuffer(taking_part, dtype=bool))
    start = time.perf_counter()
    found = np.asarray(extract(np.asarray(table.pixels[rows]), table.shape))
    seconds = time.perf_counter() - start
    values = np.full((len(table), found.shape[1]), np.nan, dtype=found.dtype)
    values[rows] = found
    return TableFeatures(values, seconds / len(rows))
