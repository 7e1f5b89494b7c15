"""Splits inside the training part: for what is learnt from training lesions that are left out."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold


def inner_folds(
    labels: npt.NDArray[np.int64], lesions: npt.NDArray[np.str_] | None, folds: int, seed: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Split training rows, by lesion where lesions are known.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
    lesions : ndarray of shape (n,) or None
        None where rows are split one by one.
    folds : int
        At most the lesions of the rarest class.
    seed : int

    Returns
    -------
    list of (ndarray, ndarray)
        Positions of the rows kept and left out; only folds that keep a row of every class.

    Raises
    ------
    ValueError
        Where a class has fewer than two lesions.
    """
    classes = np.unique(labels)
    sizes = [
        np.count_nonzero(labels == code) if lesions is None else len(np.unique(lesions[labels == code]))
        for code in classes
    ]
    if min(sizes) >= 2:
        names = None if lesions is None else tuple(lesions.tolist())
        found = [
            (inner, outer)
            for inner, outer in _split(tuple(labels.tolist()), names, min(folds, min(sizes)), seed)
            if len(np.unique(labels[inner])) == len(classes)
        ]
        if found:
            return found
    raise ValueError(
        "this model learns from training lesions that are left out in turn, and a class has too few; "
        "use fewer folds or leave the class out"
    )


@lru_cache(maxsize=2)  # The cells of a fold split the same rows, and half a second is a tenth of a cell.
def _split(
    labels: tuple[int, ...], lesions: tuple[str, ...] | None, folds: int, seed: int
) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], ...]:
    splitter_class = StratifiedKFold if lesions is None else StratifiedGroupKFold
    splitter = splitter_class(folds, shuffle=True, random_state=seed)
    groups = None if lesions is None else np.asarray(lesions)
    found = tuple(splitter.split(labels, np.asarray(labels), groups))
    for part in (part for both in found for part in both):
        part.setflags(write=False)  # Several cells share them.
    return found


def draw_lesions(
    labels: npt.NDArray[np.int64], lesions: npt.NDArray[np.str_] | None, share: float, seed: int
) -> npt.NDArray[np.int64]:
    """Draw a share of the lesions of every class, and return the positions of their rows, in order.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
    lesions : ndarray of shape (n,) or None
        None where rows are drawn one by one.
    share : float
        Rounded down for each class: no class loses its last lesion, and a rare one may have none drawn.
    seed : int
    """
    random_state = np.random.default_rng(seed)
    units = np.arange(len(labels)) if lesions is None else lesions
    names, first = np.unique(units, return_index=True)
    sample_indices = []
    for code in np.unique(labels):
        own = names[labels[first] == code]
        sample_indices.append(random_state.permutation(own)[: int(share * len(own))])
    return np.flatnonzero(np.isin(units, np.concatenate(sample_indices)))
