"""What a run's split looks like, counted from the table while it is at hand: a run folder holds no pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.near_duplicates import ALIKE, MOST_ROWS, find_near_duplicates
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.run_folder.run_info import SplitFacts
from skinmnist.experiment.splits import LEFT_OUT

#: Pairs that are named one by one.
_NAMED = 20


def describe_split(table: PixelTable, fold_of: npt.NDArray[np.integer]) -> SplitFacts:
    """Count what stands on both sides of a split.

    Parameters
    ----------
    table : PixelTable
    fold_of : ndarray of shape (n,), int
        Fold of each row in the first repeat, or `LEFT_OUT`.

    Returns
    -------
    SplitFacts
        ``shared_lesions`` and ``shared_pictures``: lesions with pictures in several folds, and their
        pictures; None where lesions are unknown. ``alike_from``: the correlation from which pictures count
        as alike; ``alike_pairs``: pairs found, None where the table is too large to search;
        ``alike_across``: those in different folds that are not known to show one lesion, and
        ``alike_rows``: the first of them as row numbers.
    """
    rows = np.flatnonzero(fold_of != LEFT_OUT)
    lesions, shared_lesions, shared_pictures = None, None, None
    if table.lesion_ids is not None:
        lesions = np.unique(table.lesion_ids, return_inverse=True)[1]
        homes = np.unique(np.stack([lesions[rows], fold_of[rows]], axis=1), axis=0)[:, 0]
        shared = np.flatnonzero(np.bincount(homes) > 1)
        shared_lesions = len(shared)
        shared_pictures = int(np.isin(lesions[rows], shared).sum())
    if len(rows) > MOST_ROWS:
        return SplitFacts(shared_lesions, shared_pictures, ALIKE, None, None, ())
    pairs = find_near_duplicates(table, rows)
    apart = fold_of[pairs[:, 0]] != fold_of[pairs[:, 1]]
    if lesions is not None:
        apart &= lesions[pairs[:, 0]] != lesions[pairs[:, 1]]
    return SplitFacts(
        shared_lesions=shared_lesions,
        shared_pictures=shared_pictures,
        alike_from=ALIKE,
        alike_pairs=len(pairs),
        alike_across=int(apart.sum()),
        alike_rows=tuple((int(first), int(second)) for first, second in pairs[apart][:_NAMED]),
    )
