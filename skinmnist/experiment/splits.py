"""Which rows are held out when: stratified folds, by lesion where lesions are known, and inner folds."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.near_duplicates import first_copies
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError

Split = Literal["lesion", "image", "holdout"]

_PLURALS = {"row": "rows", "lesion": "lesions", "group of pictures": "groups of pictures"}
#: The fold number of a row that takes no part.
LEFT_OUT = -1


def choose_split(table: PixelTable, split: str | None) -> Split:
    """Return the split to use: by lesion wherever lesions are known, unless asked otherwise.

    A holdout parts training and test once, by lesion wherever lesions are known. InputError where a split
    by lesion is asked of a table without lesion ids.
    """
    if split is None:
        return "image" if table.lesion_ids is None else "lesion"
    if split == "image":
        return "image"
    if split == "holdout":
        return "holdout"
    if split != "lesion":
        raise InputError(f"received split {split!r}; expected 'lesion', 'image' or 'holdout'")
    if table.lesion_ids is None:
        raise InputError(
            f"a split by lesion was asked for, but table {table.name!r} has no lesion ids; "
            "name its metadata with --metadata, or use --split image"
        )
    return "lesion"


def assign_folds(
    table: PixelTable,
    n_folds: int = 5,
    repeats: int = 1,
    split: Split = "lesion",
    seed: int = 0,
    rows: npt.NDArray[np.int64] | None = None,
    *,
    keep_copies: bool = False,
) -> npt.NDArray[np.int8]:
    """Assign every row, or those of `rows`, to the fold that holds it out, for each repeat.

    Both splits are stratified by class. Repeat 0 uses `seed` itself. ``"lesion"`` keeps all pictures of a
    lesion in one fold (`StratifiedGroupKFold`, fixed for shuffling in scikit-learn 1.8), ``"image"`` does
    not (`StratifiedKFold`). ``"holdout"`` splits as ``"lesion"`` wherever lesions are known; only its
    fold 0 is meant to be held out. With `keep_copies`, pictures of the very same pixels stay in one fold
    under every split, as those of a table do that was oversampled before.

    Returns the fold in which a row is held out, or `LEFT_OUT`, of shape
    (repeats, n). InputError where a class has fewer rows, or fewer lesions, than there are folds.
    """
    if not 2 <= n_folds <= 100:
        raise InputError(f"received {n_folds} folds; expected 2 to 100")
    if repeats < 1:
        raise InputError(f"received {repeats} repeats; expected at least 1")
    taking_part = np.arange(len(table)) if rows is None else np.asarray(rows)
    labels = table.labels[taking_part]
    groups = None if split == "image" or table.lesion_ids is None else table.lesion_ids[taking_part]
    if keep_copies:
        groups = _with_copies(groups, first_copies(table, taking_part))
    _check_enough_of_each_class(table, labels, groups, n_folds)

    folds = np.full((repeats, len(table)), LEFT_OUT, dtype=np.int8)
    for repeat in range(repeats):
        own_seed = int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0]) if repeat else seed
        splitter = _splitter(groups, n_folds, own_seed)
        for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
            folds[repeat, taking_part[held_out]] = fold
    return folds


def _with_copies(groups: npt.NDArray[Any] | None, first: npt.NDArray[np.int64]) -> npt.NDArray[Any] | None:
    """Join the groups that hold copies of one picture; `first` is as `first_copies` returns it."""
    if (first == np.arange(len(first))).all():
        return groups
    if groups is None:
        return first
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    of_row = np.unique(groups, return_inverse=True)[1]
    graph = coo_array((np.ones(len(first)), (of_row, of_row[first])), shape=(of_row.max() + 1,) * 2)
    return np.asarray(connected_components(graph, directed=False)[1])[of_row]


def _splitter(groups: npt.NDArray[Any] | None, folds: int, seed: int) -> Any:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    return kind(folds, shuffle=True, random_state=seed)


def _check_enough_of_each_class(
    table: PixelTable,
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[Any] | None,
    n_folds: int,
) -> None:
    what = "row" if groups is None else "lesion" if groups.dtype.kind == "U" else "group of pictures"
    for code, name in enumerate(table.class_names):
        of_class = labels == code
        count = int(of_class.sum()) if groups is None else len(np.unique(groups[of_class]))
        if count < n_folds:
            amount = f"{count} {what if count == 1 else _PLURALS[what]}"
            advice = f"use --folds {count} or leave the class out" if count >= 2 else "leave the class out"
            raise InputError(
                f"class {name!r} (label {code}) of table {table.name!r} has {amount}, fewer than the "
                f"{n_folds} folds; {advice}"
            )


def inner_folds(
    labels: npt.NDArray[np.int64], lesions: npt.NDArray[np.str_] | None, folds: int, seed: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Split training rows into at most so many folds, by lesion where lesions are known.

    Returns positions of the rows trained on and left out, of those folds that train on every class;
    ValueError where a class has fewer than two lesions.
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
        "this model learns from training lesions that are left out in turn, and a class has fewer than two "
        "of them; use more folds, which leave more lesions to train on, or leave the class out"
    )


@lru_cache(maxsize=2)  # The cells of a fold split the same rows, and half a second is a tenth of a cell.
def _split(
    labels: tuple[int, ...], lesions: tuple[str, ...] | None, folds: int, seed: int
) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], ...]:
    groups = None if lesions is None else np.asarray(lesions)
    found = tuple(_splitter(groups, folds, seed).split(labels, np.asarray(labels), groups))
    for part in (part for both in found for part in both):
        part.setflags(write=False)  # Several cells share them.
    return found


def draw_lesions(
    labels: npt.NDArray[np.int64], lesions: npt.NDArray[np.str_] | None, share: float, seed: int
) -> npt.NDArray[np.int64]:
    """Sample a share of the lesions of every class; return the positions of their rows, in order.

    Rows are sampled one by one where `lesions` is None. The share is rounded down for each class: no
    class loses its last lesion, and a rare one may have none in the sample.
    """
    random_state = np.random.default_rng(seed)
    units = np.arange(len(labels)) if lesions is None else lesions
    names, first = np.unique(units, return_index=True)
    sample_indices = []
    for code in np.unique(labels):
        own = names[labels[first] == code]
        sample_indices.append(random_state.permutation(own)[: int(share * len(own))])
    return np.flatnonzero(np.isin(units, np.concatenate(sample_indices)))
