"""External tests: a training table and a test table are joined into one table with a given split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.splits import LEFT_OUT, GivenFolds, parts_of_size, spread
from skinmnist.text import shell_word


def join_external(
    table: PixelTable, other: PixelTable, rows: npt.NDArray[np.int64] | None = None
) -> tuple[PixelTable, GivenFolds]:
    """Join two tables, with a split that trains on the first and tests on the second.

    Parameters
    ----------
    table, other : PixelTable
        The training table and the test table. They must have the same picture size and the same classes, in
        any order.
    rows : ndarray of int, optional
        Rows of `table` to train on; all by default.

    Returns
    -------
    PixelTable
        The joined table, named after both. If a table has no lesion ids, each of its pictures counts as a
        separate lesion. The clinical columns are those of `table`; columns that `other` lacks are unknown
        there.
    GivenFolds

    Raises
    ------
    InputError
        If the classes or picture sizes differ.
    """
    _check_alike(table, other)
    codes = np.array([table.class_names.index(name) for name in other.class_names])
    n = len(table)
    lesions = None
    if table.lesion_ids is not None or other.lesion_ids is not None:
        lesions = np.concatenate([_lesions(table, "trained on"), _lesions(other, "tested on")])
    joined = PixelTable(
        pixels=np.concatenate([table.pixels, other.pixels]),
        labels=np.concatenate([table.labels, codes[other.labels]]),
        class_names=table.class_names,
        shape=table.shape,
        lesion_ids=lesions,
        clinical=_clinical(table, other) or None,
        name=f"{table.name}+{other.name}",
        origin=f"{other.origin}, to test what was trained on {table.name}",
        inputs=(*table.inputs, *other.inputs),
        synthetic=table.synthetic or other.synthetic,
        notes=(*_shared_pictures(table, other), *_unknown(table, other), *_unknown_columns(table, other)),
    )
    train = np.arange(n) if rows is None else rows
    fold_of = np.full(len(joined), LEFT_OUT, dtype=np.int8)
    folds = parts_of_size(len(other) / (len(other) + len(train)), len(train))
    fold_of[n:], fold_of[train] = 0, spread(len(train), folds)
    return joined, GivenFolds(fold_of[None], folds, "given holdout", other.name, ("test",))


def _check_alike(table: PixelTable, other: PixelTable) -> None:
    if set(table.class_names) != set(other.class_names):
        own, others = (", ".join(one.class_names) for one in (table, other))
        raise InputError(
            f"the test table {other.name!r} has the classes {others}, but {table.name!r} has {own}; "
            "expected the same names, so name the metadata of the test table, or remove classes"
        )
    if table.shape != other.shape:
        (height, width, channels), found = table.shape, " x ".join(map(str, other.shape))
        mode = " --mode L" if channels == 1 else ""
        raise InputError(
            f"the test table {other.name!r} has pictures of {found}; expected {height} x {width} x "
            f"{channels}, as in {table.name!r}, so build it at that size: skinmnist build FOLDER "
            f"--size {height}x{width}{mode} --out {shell_word(other.name)}.csv"
        )


def _lesions(table: PixelTable, what: str) -> npt.NDArray[np.str_]:
    if table.lesion_ids is not None:
        return table.lesion_ids
    return np.array([f"{what}: picture {row}" for row in range(len(table))])


def _clinical(table: PixelTable, other: PixelTable) -> dict[str, npt.NDArray[Any]]:
    found, lacking = {}, _lacking_columns(table, other)
    for name, values in (table.clinical or {}).items():
        unknown = np.full(len(other), np.nan if values.dtype.kind == "f" else "", dtype=values.dtype)
        found[name] = np.concatenate([values, unknown if name in lacking else (other.clinical or {})[name]])
    return found


def _lacking_columns(table: PixelTable, other: PixelTable) -> list[str]:
    """Return the clinical columns of a table that another table lacks or stores as a different type."""
    known = other.clinical or {}
    return [
        name
        for name, values in (table.clinical or {}).items()
        if name not in known or known[name].dtype.kind != values.dtype.kind
    ]


def _shared_pictures(table: PixelTable, other: PixelTable) -> Sequence[str]:
    """Return a note on the image ids that occur in both tables."""
    if table.image_ids is None or other.image_ids is None:
        return ()
    shared = len(np.intersect1d(table.image_ids, other.image_ids))
    if not shared:
        return ()
    return (
        f"WARNING: {shared:,} image_ids are in both {table.name} and {other.name}: a test on training "
        "pictures is not an external test",
    )


def _unknown(table: PixelTable, other: PixelTable) -> Sequence[str]:
    without = [one.name for one in (table, other) if one.lesion_ids is None]
    if len(without) != 1:
        return ()
    return (f"{without[0]} has no lesion ids: each of its pictures counts as a separate lesion",)


def _unknown_columns(table: PixelTable, other: PixelTable) -> Sequence[str]:
    lacking = _lacking_columns(table, other)
    return [f"{other.name} has no {', '.join(lacking)}: unknown of all its pictures"] if lacking else ()
