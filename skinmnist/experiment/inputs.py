"""What a model is given of a table: pixels, or the numbers that describe them; at once, or piece by piece."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.mapped import MappedRows, is_large
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.describing import extract_row_features, extract_table_features
from skinmnist.experiment.training_rows import draw_some
from skinmnist.models.spec import MOST_ROWS, ModelSpec
from skinmnist.resampling.registry import is_blind


class Inputs:
    """The rows of a table as one model takes them.

    Parameters
    ----------
    table : PixelTable
    spec : ModelSpec
    fold_of : ndarray of shape (n,), int
        Fold of each picture, or ``LEFT_OUT``.
    large : bool, optional
        Whether pictures are looked at only when they are taken; by default where the table `is_large`. Else
        all of it is described once for all cells of a process.

    Attributes
    ----------
    seconds : float
        Wall seconds that describing one picture took.
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
        self._described = None
        if spec.describe is not None and not self.large:
            self._described = extract_table_features(table, spec.describe, fold_of)
            self.seconds = self._described.seconds

    def take(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Return pictures, or the numbers that describe them, in memory."""
        if self._described is not None:
            return self._described.numbers[rows]
        chosen = MappedRows(self.table.pixels, rows)
        if self.spec.describe is None:
            return np.asarray(chosen).astype(self.spec.pixel_type, copy=False)
        start = time.perf_counter()
        found = extract_row_features(chosen, self.spec.describe, self.table.shape)
        self.seconds = (time.perf_counter() - start) / len(rows)
        return found

    def view(self, rows: npt.NDArray[np.integer], make_sampler: Callable[[int], Any] | None = None) -> Any:
        """Return the same to train on: `MappedRows` of a large table where nobody needs all at once."""
        if self.large and _streams(self.spec, make_sampler):
            return MappedRows(self.table.pixels, rows)
        return self.take(rows)


def _streams(spec: ModelSpec, make_sampler: Callable[[int], Any] | None) -> bool:
    """Tell whether a model reads its rows piece by piece, and its sampler, if any, does not look at them."""
    return spec.streams and (make_sampler is None or is_blind(make_sampler(0)))


def choose_training_rows(
    train: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    spec: ModelSpec,
    make_sampler: Callable[[int], Any] | None,
    seed: int,
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Choose the training rows that a model is given, and say so where they are not all, or tire it.

    Parameters
    ----------
    train : ndarray of shape (n,), int64
        Row numbers of the table.
    labels : ndarray of shape (n,), int64
        Of these rows.
    spec : ModelSpec
    make_sampler : callable or None
        Seed -> unfitted sampler. One that looks at rows is given `MOST_ROWS` at most, whatever the model.
    seed : int

    Returns
    -------
    rows : ndarray of shape (m,), int64
        Some of `train`, ascending, with every class in its share.
    notes : tuple of str
    """
    if len(train) <= MOST_ROWS:
        return train, ()
    if _streams(spec, make_sampler):
        return train, (
            f"drew its batches from all {len(train):,} training rows, in as many steps as {MOST_ROWS:,} rows "
            "ask for",
        )
    chosen = train[draw_some(labels, MOST_ROWS, seed)]
    note = (
        f"trained on {len(chosen):,} of the {len(train):,} training rows, drawn at random from each class "
        "before any sampler, for that many are held in memory"
    )
    return chosen, (note,)
