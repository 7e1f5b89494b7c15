"""What a model is given of a table: pixels, or features extracted from them; at once, or piece by piece."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.mapped import MappedRows, is_large, row_blocks
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.splits import LEFT_OUT
from skinmnist.experiment.training_rows import stratified_subsample
from skinmnist.models.spec import MOST_ROWS, ModelSpec
from skinmnist.resampling.registry import AS_THEY_ARE, Resampler


class Inputs:
    """The rows of a table as one model takes them.

    Parameters
    ----------
    table : PixelTable
    spec : ModelSpec
    fold_of : ndarray of shape (n,), int
        Fold of each picture, or ``LEFT_OUT``.
    large : bool, optional
        Whether images are looked at only when they are taken; by default where the table `is_large`. Else
        the features of all of it are extracted once for all cells of a process.

    Attributes
    ----------
    seconds : float
        Wall seconds that extracting the features of one image took.
    """

    def __init__(
        self,
        table: PixelTable,
        spec: ModelSpec,
        fold_of: npt.NDArray[np.integer],
        large: bool | None = None,
    ) -> None:
        self.table = table
        self.spec = spec
        self.large = is_large(table) if large is None else large
        self.seconds = 0.0
        self._features = None
        if spec.features.extract is not None and not self.large:
            self._features = extract_table_features(table, spec.features.extract, fold_of)
            self.seconds = self._features.seconds

    def take(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Return pixels, or the features extracted from them, in memory."""
        if self._features is not None:
            return self._features.values[rows]
        chosen, settings = MappedRows(self.table.pixels, rows), self.spec.features
        if settings.extract is None:
            return np.asarray(chosen).astype(settings.pixel_type, copy=False)
        start = time.perf_counter()
        found = extract_row_features(chosen, settings.extract, self.table.shape)
        self.seconds = (time.perf_counter() - start) / len(rows)
        return found

    def view(self, rows: npt.NDArray[np.integer], resampler: Resampler = AS_THEY_ARE) -> Any:
        """Return the same to train on: `MappedRows` of a large table where nothing needs all at once."""
        if self.large and _streams(self.spec, resampler):
            return MappedRows(self.table.pixels, rows)
        return self.take(rows)


def _streams(spec: ModelSpec, resampler: Resampler) -> bool:
    """Return whether a model reads its rows piece by piece, and no sampler looks at them."""
    return spec.streams and not resampler.looks_at_rows


def choose_training_rows(
    train: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    spec: ModelSpec,
    resampler: Resampler,
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Choose the training rows that a model is given, and note it where they are not all.

    `train` are row numbers of the table, `labels` theirs. A sampler that looks at rows is given
    `MOST_ROWS` at most, whatever the model. The rows chosen ascend, with every class in its share.
    """
    if len(train) <= MOST_ROWS:
        return train, ()
    if _streams(spec, resampler):
        return train, (
            f"drew its batches from all {len(train):,} training rows, in as many steps as {MOST_ROWS:,} rows "
            "ask for",
        )
    chosen = train[stratified_subsample(labels, MOST_ROWS, resampler.seed)]
    note = (
        f"trained on {len(chosen):,} of the {len(train):,} training rows, drawn at random from each class "
        "before any sampler, for that many are held in memory"
    )
    return chosen, (note,)


#: Images of a large table whose features are extracted together.
BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class TableFeatures:
    """The features of a table's images, NaN for those in no fold, and their cost.

    Seconds are for one image: every cell is charged for all images that it uses, whichever cell came
    first, so that costs of models can be compared.
    """

    values: npt.NDArray[np.floating]
    seconds: float


def extract_table_features(
    table: PixelTable,
    extract: Callable[[Any, tuple[int, int, int]], Any],
    fold_of: npt.NDArray[np.integer],
) -> TableFeatures:
    """Extract the features of the images that take part in folds, once in a process."""
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
