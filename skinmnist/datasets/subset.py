"""A part of a table that keeps lesions whole and classes in proportion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError


def draw_rows(
    table: PixelTable, n_rows: int, random_state: int = 0, min_lesions: int = 1
) -> npt.NDArray[np.int64]:
    """Draw about `n_rows` rows of a table by whole lesions, each class in its proportion.

    Parameters
    ----------
    table : PixelTable
        Where it does not know its lesions, every row counts as its own.
    n_rows : int
        Fewer may come back, where no lesion is small enough to fill a class's share exactly.
    random_state : int
    min_lesions : int
        Lesions that every class keeps at least, whatever its share, where it has so many.

    Returns
    -------
    ndarray of shape (m,), int64
        Ascending row numbers; all of them where the table has no more than `n_rows`.

    Raises
    ------
    InputError
        Where there are fewer rows to draw than classes.
    """
    n_classes = len(table.class_names)
    if n_rows < n_classes:
        raise InputError(
            f"received {n_rows} rows to draw from {n_classes} classes; draw at least one for each"
        )
    if n_rows >= len(table):
        return np.arange(len(table))
    rng = np.random.default_rng(random_state)
    lesions = np.arange(len(table)) if table.lesion_ids is None else table.lesion_ids
    chosen = []
    for code, quota in enumerate(_quotas(table.class_counts, n_rows)):
        rows = np.flatnonzero(table.labels == code)
        _, lesion_of = np.unique(lesions[rows], return_inverse=True)
        sizes = np.bincount(lesion_of)
        taken, total = np.zeros(len(sizes), dtype=bool), 0
        for lesion in rng.permutation(len(sizes)):
            if total + sizes[lesion] <= quota or taken.sum() < min_lesions:
                taken[lesion], total = True, total + sizes[lesion]
        chosen.append(rows[taken[lesion_of]])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _quotas(counts: npt.NDArray[np.int64], n_rows: int) -> npt.NDArray[np.int64]:
    """Share rows out in proportion to the classes, by largest remainder, at least one to each."""
    exact = counts * n_rows / counts.sum()
    quotas = np.maximum(np.floor(exact).astype(np.int64), 1)
    missing = max(n_rows - int(quotas.sum()), 0)
    quotas[np.argsort(-(exact - np.floor(exact)), kind="stable")[:missing]] += 1
    return quotas
