"""Who is held out when: stratified folds, by lesion where lesions are known."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError

Split = Literal["lesion", "image", "holdout"]

#: The fold number of a row that takes no part.
LEFT_OUT = -1


def choose_split(table: PixelTable, split: str | None) -> Split:
    """Return the split to use: by lesion wherever lesions are known, unless told otherwise.

    A holdout parts training and test once, by lesion wherever lesions are known.

    Raises
    ------
    InputError
        Where a split by lesion is asked of a table that does not know its lesions.
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
) -> npt.NDArray[np.int8]:
    """Assign every row to the fold that holds it out, for each repeat.

    Both splits are stratified by class. Repeat 0 draws with `seed` itself.

    Parameters
    ----------
    table : PixelTable
    n_folds : int
        Between 2 and 100.
    repeats : int
    split : {"lesion", "image", "holdout"}
        ``"lesion"`` keeps all pictures of a lesion in one fold (`StratifiedGroupKFold`, fixed for shuffling
        in scikit-learn 1.8); ``"image"`` does not (`StratifiedKFold`). ``"holdout"`` draws as ``"lesion"``
        does, wherever lesions are known; only its fold 0 is meant to be held out.
    seed : int
    rows : ndarray of int, optional
        The rows that take part; all by default.

    Returns
    -------
    ndarray of shape (repeats, n), int8
        The fold in which a row is held out, or `LEFT_OUT`.

    Raises
    ------
    InputError
        Where a class has fewer rows, or fewer lesions, than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if not 2 <= n_folds <= 100:
        raise InputError(f"received {n_folds} folds; expected 2 to 100")
    if repeats < 1:
        raise InputError(f"received {repeats} repeats; expected at least 1")
    taking_part = np.arange(len(table)) if rows is None else np.asarray(rows)
    labels = table.labels[taking_part]
    groups = None if split == "image" or table.lesion_ids is None else table.lesion_ids[taking_part]
    _check_enough_of_each_class(table, labels, groups, n_folds)

    folds = np.full((repeats, len(table)), LEFT_OUT, dtype=np.int8)
    for repeat in range(repeats):
        splitter_class = StratifiedKFold if groups is None else StratifiedGroupKFold
        splitter = splitter_class(n_folds, shuffle=True, random_state=_repeat_seed(seed, repeat))
        for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
            folds[repeat, taking_part[held_out]] = fold
    return folds


def _repeat_seed(seed: int, repeat: int) -> int:
    return seed if repeat == 0 else int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


def _check_enough_of_each_class(
    table: PixelTable,
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.str_] | None,
    n_folds: int,
) -> None:
    what = "row" if groups is None else "lesion"
    for code, name in enumerate(table.class_names):
        of_class = labels == code
        count = int(of_class.sum()) if groups is None else len(np.unique(groups[of_class]))
        if count < n_folds:
            amount = f"{count} {what}{'s' * (count != 1)}"
            advice = f"use --folds {count} or leave the class out" if count >= 2 else "leave the class out"
            raise InputError(
                f"class {name!r} (label {code}) of table {table.name!r} has {amount}, fewer than the "
                f"{n_folds} folds; {advice}"
            )
