"""Splits: stratified folds, by lesion if lesions are known, and inner folds."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.near_duplicates import first_copies
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.text import one_line, shown

#: Kinds of splits. In a holdout, and in given pairs that are not a cross-validation, only fold 0 is held out.
Split = Literal["lesion", "image", "holdout", "given", "given holdout"]

_PLURALS = {"row": "rows", "lesion": "lesions", "group of pictures": "groups of pictures"}
#: Fold number of an unused row.
LEFT_OUT = -1
DEFAULT_FOLDS = 5
#: Fold number of a validation row: used for monitoring and tuning, never for training or reporting.
VALIDATION = -2
#: Fold number of a row that every fold trains on.
ALWAYS_TRAINED = -3
#: Largest number of cross-validation folds, and of pairs of training and test sets.
MOST_FOLDS, MOST_PAIRS = 100, 1000
#: Random splits to try if a stratified split leaves a class without inner folds.
RANDOM_SPLITS = 20

Rows = npt.NDArray[np.int64]


def choose_split(table: PixelTable, split: str | None) -> Split:
    """Return the split to use: by lesion if lesions are known, unless requested otherwise.

    A holdout is a single split into a training set and a test set, by lesion if lesions are known. Raises
    InputError if a split by lesion is requested for a table without lesion ids.
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
            f"a split by lesion was requested, but table {table.name!r} has no lesion ids; "
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
    """Assign every row, or only `rows`, to the fold that holds it out, for each repeat.

    All splits are stratified by class. Repeat 0 uses `seed` itself. ``"lesion"`` keeps all pictures of a
    lesion in one fold (`StratifiedGroupKFold`, whose shuffling was fixed in scikit-learn 1.8); ``"image"``
    does not (`StratifiedKFold`). ``"holdout"`` splits like ``"lesion"`` if lesions are known, but only fold 0
    is meant to be held out. With `keep_copies`, pictures with identical pixels stay in one fold under every
    split, for tables that were oversampled before.

    Returns the fold that holds out each row, or `LEFT_OUT`, as an array of shape (repeats, n). Raises
    InputError if a class has fewer rows, or fewer lesions, than there are folds.
    """
    if not 2 <= n_folds <= MOST_FOLDS:
        raise InputError(
            f"received {n_folds} folds; expected 2 to {MOST_FOLDS}, or the split holdout for one training "
            "and one test part"
        )
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


def training_rows(fold_of: npt.NDArray[np.integer], fold: int) -> npt.NDArray[np.bool_]:
    """Return the training rows of a fold: rows of the other folds, and rows that are always trained on."""
    return ((fold_of >= 0) & (fold_of != fold)) | (fold_of == ALWAYS_TRAINED)


def sides_of(fold_of: npt.NDArray[np.integer], planned_folds: int) -> npt.NDArray[np.integer]:
    """Return the side of a split on which each row is: its fold or, with one held-out set, 0 for that set.

    Validation rows then count as the other side, 1.
    """
    return fold_of if planned_folds > 1 else np.where(fold_of == VALIDATION, 1, np.minimum(fold_of, 1))


def _with_copies(groups: npt.NDArray[Any] | None, first: npt.NDArray[np.int64]) -> npt.NDArray[Any] | None:
    """Merge groups that contain copies of the same picture; `first` is the output of `first_copies`."""
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
            advice = f"use --folds {count} or remove the class" if count >= 2 else "remove the class"
            raise InputError(
                f"class {name!r} (label {code}) of table {table.name!r} has {amount}, fewer than the "
                f"{n_folds} folds; {advice}"
            )


@dataclass(frozen=True, eq=False)
class GivenFolds:
    """Given folds, in the layout of `assign_folds`.

    Attributes
    ----------
    fold_of : ndarray of shape (repeats, n), int8
        The fold that holds out each row, or `LEFT_OUT`, `VALIDATION` or `ALWAYS_TRAINED`. In a
        cross-validation, every fold is held out once. Any other pair is a separate repeat: fold 0 is held
        out, and the other folds are the training set.
    folds : int
        Number of folds in each repeat.
    split : {"given", "given holdout"}
    origin : str
        The origin of the folds, such as ``"StratifiedKFold(n_splits=3, random_state=None, shuffle=False)"``.
    groups : tuple of str
        Names of the held-out sets, if any.
    notes : tuple of str
        Caveats for readers of the scores.
    """

    fold_of: npt.NDArray[np.int8]
    folds: int
    split: Split
    origin: str
    groups: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def from_pairs(cls, pairs: Iterable[Any], labels: npt.NDArray[np.int64], origin: str) -> GivenFolds:
        """Create folds from pairs of row numbers, each with a training set and a test set.

        Parameters
        ----------
        pairs : iterable of (array, array)
            Row numbers, or boolean masks. The pairs form a cross-validation if successive groups of test sets
            cover the same rows exactly once, and each training set contains the remaining rows.
        labels : ndarray of shape (n,), int64
        origin : str

        Raises
        ------
        InputError
            If a set is empty or contains invalid row numbers, if a training set lacks a class, or if a row is
            in both sets of a pair.

        Examples
        --------
        >>> import numpy as np
        >>> labels = np.array([0, 1, 0, 1])
        >>> GivenFolds.from_pairs([([0, 1], [2, 3]), ([2, 3], [0, 1])], labels, "my folds").fold_of
        array([[1, 1, 0, 0]], dtype=int8)
        """
        found = [
            _as_pair(pair, labels, f"pair {i} of {origin}") for i, pair in enumerate(_few(pairs, origin))
        ]
        if not found:
            raise InputError(f"received no pair of training and test rows from {origin}; expected at least 1")
        folds = _folds_of_cross_validation(found, len(labels))
        if folds > MOST_FOLDS:
            raise InputError(f"received {folds} folds from {origin}; expected 2 to {MOST_FOLDS}")
        if folds:
            fold_of = np.full((len(found) // folds, len(labels)), LEFT_OUT, dtype=np.int8)
            for place, (_, test) in enumerate(found):
                fold_of[place // folds, test] = place % folds
            return cls(fold_of, folds, "given", origin)
        fewest = min(len(train) for train, _ in found)
        share = float(np.mean([len(test) / (len(train) + len(test)) for train, test in found]))
        folds = parts_of_size(share, fewest)
        fold_of = np.full((len(found), len(labels)), LEFT_OUT, dtype=np.int8)
        for repeat, (train, test) in enumerate(found):
            fold_of[repeat, test] = 0
            fold_of[repeat, train] = spread(len(train), folds)
        return cls(fold_of, folds, "given holdout", origin)

    @classmethod
    def from_cv(cls, cv: Any, table: PixelTable, rows: Rows | None = None, seed: int = 0) -> GivenFolds:
        """Split a table, or only `rows`, with a scikit-learn splitter or according to pairs.

        A splitter whose ``random_state`` is None uses `seed`. It receives the lesions as groups.
        """
        if isinstance(cv, type):
            raise InputError(f"received the class {cv.__name__} as cv; expected an object: {cv.__name__}()")
        if isinstance(cv, str) or not (hasattr(cv, "split") or isinstance(cv, Iterable)):
            raise InputError(
                f"received {shown(cv)} as cv; expected a number of folds, a scikit-learn splitter, or "
                "pairs of training and test rows"
            )
        if not hasattr(cv, "split"):
            return cls.from_pairs(_in_table(cv, rows), table.labels, "the pairs of cv")
        cv = _seeded_splitter(cv, seed)
        words = one_line(repr(cv))
        origin = type(cv).__name__ if words.startswith("<") else words[:200]
        part = slice(None) if rows is None else rows
        groups = None if table.lesion_ids is None else table.lesion_ids[part]
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The groups parameter is ignored")
                found = cv.split(table.pixels[part], table.labels[part], groups)
                pairs = list(_few(found, origin))
        except InputError:
            raise
        except Exception as error:  # User-defined splitters may raise any exception.
            raise InputError(
                f"{origin} cannot split table {table.name!r} ({one_line(str(error))}); use another splitter"
                + ("" if groups is not None else ", or pass groups if it needs them")
            ) from None
        return cls.from_pairs(_in_table(pairs, rows), table.labels, origin)


def choose_folds(
    table: PixelTable,
    cv: Any,
    folds: int,
    repeats: int,
    split: str | os.PathLike[str] | GivenFolds | None,
    seed: int,
    rows: Rows | None,
) -> tuple[int, str | os.PathLike[str] | GivenFolds | None]:
    """Return the number of folds and the split, which is replaced with given folds if `cv` is given."""
    if cv is None:
        return folds, split
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        if folds not in (DEFAULT_FOLDS, cv):
            raise InputError(f"received folds={folds} and cv={cv}, which are one argument; pass only one")
        return int(cv), split
    other = {"folds": folds != DEFAULT_FOLDS, "repeats": repeats != 1, "split": split is not None}
    for name in (name for name, changed in other.items() if changed):
        raise InputError(f"received cv and {name}; drop {name}, because cv already defines the split")
    return folds, GivenFolds.from_cv(cv, table, rows, seed)


def parts_of_size(share: float, n_train: int) -> int:
    """Return the number of folds that corresponds to a held-out share, for tests that depend on it."""
    return int(np.clip(round(1 / share), 2, min(MOST_FOLDS, n_train + 1)))


def spread(n_train: int, folds: int) -> npt.NDArray[np.int64]:
    """Return fold numbers, starting with 1, for the rows of a training set; fold 0 is held out."""
    return 1 + np.arange(n_train) * (folds - 1) // n_train


def external_folds(table: PixelTable, other: PixelTable, rows: Rows | None = None) -> GivenFolds:
    """Return the split of two joined tables that trains on (rows of) the first and tests on the second.

    The tables are joined by `skinmnist.datasets.joining.join_tables`.
    """
    n = len(table)
    train = np.arange(n) if rows is None else rows
    fold_of = np.full(n + len(other), LEFT_OUT, dtype=np.int8)
    folds = parts_of_size(len(other) / (len(other) + len(train)), len(train))
    fold_of[n:], fold_of[train] = 0, spread(len(train), folds)
    return GivenFolds(fold_of[None], folds, "given holdout", other.name, ("test",))


def _few(pairs: Iterable[Any], origin: str) -> Iterable[Any]:
    for place, pair in enumerate(islice(pairs, MOST_PAIRS + 1)):
        if place == MOST_PAIRS:
            raise InputError(f"received more than {MOST_PAIRS:,} pairs from {origin}; expected fewer")
        yield pair


def _in_table(pairs: Iterable[Any], rows: Rows | None) -> Iterable[Any]:
    """Convert positions among the used rows to row numbers of the table."""
    if rows is None:
        yield from pairs
        return
    for pair in pairs:
        try:
            yield tuple(rows[np.asarray(part)] for part in pair)
        except (IndexError, TypeError, ValueError):
            raise InputError(
                f"received a pair in cv with invalid row numbers; expected 0 to {len(rows) - 1}"
            ) from None


def _seeded_splitter(cv: Any, seed: int) -> Any:
    if getattr(cv, "random_state", 0) is not None or not getattr(cv, "shuffle", True):
        return cv
    cv = copy.copy(cv)
    cv.random_state = seed
    return cv


def _as_pair(pair: Any, labels: npt.NDArray[np.int64], where: str) -> tuple[Rows, Rows]:
    try:
        train, test = (np.asarray(part) for part in pair)
    except (TypeError, ValueError):
        raise InputError(
            f"{where} is {shown(pair)}; expected two lists of row numbers: train, test"
        ) from None
    found = []
    for name, part in (("training", train), ("test", test)):
        part = np.flatnonzero(part) if part.dtype == bool and part.shape == labels.shape else part
        if part.ndim != 1 or not len(part) or part.dtype.kind not in "iu":
            raise InputError(
                f"the {name} part of {where} is empty or not a list of row numbers; give at least one"
            )
        if part.min() < 0 or part.max() >= len(labels) or len(np.unique(part)) < len(part):
            raise InputError(
                f"the {name} part of {where} names rows {part.min()} to {part.max()}; expected each row "
                f"once, from 0 to {len(labels) - 1}"
            )
        found.append(np.sort(part).astype(np.int64))
    shared = np.intersect1d(found[0], found[1])
    if len(shared):
        raise InputError(
            f"row {shared[0]} is in both the training and the test part of {where}; test rows must not be "
            "trained on"
        )
    missing = np.setdiff1d(labels, labels[found[0]])
    if len(missing):
        raise InputError(
            f"the training part of {where} has no row of class {missing[0]}; use a stratified splitter, or "
            "remove the class"
        )
    return found[0], found[1]


def _folds_of_cross_validation(pairs: list[tuple[Rows, Rows]], n: int) -> int:
    """Return the number of pairs after which every used row was tested once; 0 if this never happens."""
    everything = np.zeros(n, dtype=bool)
    everything[np.concatenate(pairs[0])] = True
    tested = np.zeros(n, dtype=np.int64)
    folds = 0
    for place, (train, test) in enumerate(pairs, start=1):
        tested[test] += 1
        whole = (
            len(train) + len(test) == everything.sum() and everything[train].all() and everything[test].all()
        )
        if not whole or (tested > 1).any():
            return 0
        if (tested == everything).all():
            folds = folds or place
            tested[:] = 0
            if place % folds or folds < 2:
                return 0
    return folds if not tested.any() else 0


def inner_folds(
    labels: npt.NDArray[np.int64], lesions: npt.NDArray[np.str_] | None, folds: int, seed: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Split training rows into at most `folds` folds, by lesion if lesions are known.

    Returns the positions of training and held-out rows, for folds that train on every class; together, their
    held-out rows contain every class. Raises ValueError if a class has fewer than two lesions, or if lesions
    that mix classes, such as patients, prevent such a split.
    """
    sizes = [
        int((labels == code).sum()) if lesions is None else len(np.unique(lesions[labels == code]))
        for code in np.unique(labels)
    ]
    if min(sizes) < 2:
        raise ValueError(
            "this model leaves out training lesions in turn, but a class has fewer than two of them; use "
            "more folds, which leave more lesions to train on, or remove the class"
        )
    names = None if lesions is None else tuple(lesions.tolist())
    found = _split(tuple(labels.tolist()), names, min(folds, min(sizes)), seed)
    if not found:
        raise ValueError(
            "this model leaves out training lesions in turn, but a class shares its lesions with other "
            "classes, so no split has every class on both sides; remove the class"
        )
    return list(found)


@lru_cache(maxsize=2)  # Cells of a fold share splits, which take a tenth of the time of an SVM.
def _split(
    labels: tuple[int, ...], lesions: tuple[str, ...] | None, folds: int, seed: int
) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], ...]:
    """Return the folds of the first split that trains on every class and holds out every class."""
    from sklearn.model_selection import GroupKFold

    codes, groups = np.asarray(labels), None if lesions is None else np.asarray(lesions)
    splitters = [_splitter(groups, folds, seed)]
    if groups is not None:
        # Groups of different sizes leave the stratified split no choice, whatever its seed.
        splitters += [GroupKFold(folds, shuffle=True, random_state=seed + i) for i in range(RANDOM_SPLITS)]
    n_classes = len(np.unique(codes))
    for splitter in splitters:
        parts = splitter.split(codes, codes, groups)
        found = tuple((inner, outer) for inner, outer in parts if len(np.unique(codes[inner])) == n_classes)
        if found and len(np.unique(codes[np.concatenate([outer for _, outer in found])])) == n_classes:
            for part in (part for both in found for part in both):
                part.setflags(write=False)  # The array is shared by several cells.
            return found
    return ()


def draw_lesions(
    labels: npt.NDArray[np.int64], lesions: npt.NDArray[np.str_] | None, share: float, seed: int
) -> npt.NDArray[np.int64]:
    """Sample a share of the lesions of every class; return the positions of their rows in order.

    Rows are sampled individually if `lesions` is None. The number of lesions is rounded down for each class:
    no class loses its last lesion, and a rare class may have no lesions in the sample.
    """
    random_state = np.random.default_rng(seed)
    units = np.arange(len(labels)) if lesions is None else lesions
    names, first = np.unique(units, return_index=True)
    sample_indices = []
    for code in np.unique(labels):
        own = names[labels[first] == code]
        sample_indices.append(random_state.permutation(own)[: int(share * len(own))])
    return np.flatnonzero(np.isin(units, np.concatenate(sample_indices)))
