"""Join metadata to a pixel table (match rows, name the classes, identify the lesions), and two tables.

A class is named after a diagnosis only if the two agree in every row. Mismatches raise an error that explains
the cause, and no row is dropped without a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.classes_file import Stated
from skinmnist.datasets.files import place
from skinmnist.datasets.metadata import Metadata
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.text import shell_word, shown

Labels = npt.NDArray[np.int64]
Words = npt.NDArray[np.str_]

#: Share of rows in which label and diagnosis must agree for the remaining rows to count as isolated errors.
_NEARLY_ALL = 0.95
#: Maximum number of diagnoses or classes listed in a message.
_MOST_LISTED = 12
_LEAVE_OUT = "leave it out with --metadata none"


@dataclass(frozen=True, eq=False)
class Joined:
    """Metadata of the rows of a table, and its class names in code order."""

    metadata: Metadata  # One entry per row of the table, in the same order
    class_names: tuple[str, ...]
    lesion_ids: Words | None  # None if all lesions are unknown
    notes: tuple[str, ...]


def join_metadata(
    metadata: Metadata, table: Path, labels: Labels, image_ids: Words | None, stated: Stated
) -> Joined:
    """Join metadata by ``image_id`` if the table has that column, otherwise row by row.

    Raises
    ------
    InputError
        If the rows cannot be matched, or if a lesion has several diagnoses.
    """
    rows, notes = _match_rows(metadata, table, labels, image_ids)
    if rows is not None:
        metadata = _take(metadata, rows)
    line_of = np.arange(len(labels)) if rows is None else rows
    by_label = _diagnosis_of_each(labels, metadata.diagnoses)
    if by_label is None:
        _check_agreement(metadata, table, labels, line_of, by_row=rows is None)
        groups = _groups(metadata.diagnoses, labels)
        if stated.class_names is None:
            _check_spelling(metadata, groups, line_of)
    else:
        groups = [[name] for name in by_label]
    names, naming = _name_groups(groups, stated, metadata.path)
    same = labels if by_label else np.unique(metadata.diagnoses, return_inverse=True)[1]
    lesion_ids, unknown = find_lesions(metadata, same, line_of, f", or {_LEAVE_OUT}")
    return Joined(metadata, names, lesion_ids, (*notes, naming, *unknown))


def find_lesions(
    metadata: Metadata, codes: npt.NDArray[np.integer], line_of: npt.NDArray[np.integer], or_else: str = ""
) -> tuple[Words | None, list[str]]:
    """Return the lesion of each picture, or None if all are unknown, and notes.

    Equal `codes` mean equal diagnoses; `or_else` completes the advice of errors.

    Raises
    ------
    InputError
        If a lesion has several diagnoses.
    """
    lesion_ids, unknown = _own_lesions(metadata)
    if lesion_ids is None:
        return None, []
    _check_lesions(metadata, lesion_ids, codes, line_of, or_else)
    lesion_ids, known = _join_known(metadata, lesion_ids)
    return lesion_ids, unknown + known


def _match_rows(
    metadata: Metadata, table: Path, labels: Labels, image_ids: Words | None
) -> tuple[npt.NDArray[np.intp] | None, list[str]]:
    """Return the metadata row of each picture, or None if the rows already match, and notes."""
    n, path = len(metadata.image_ids), metadata.path
    if image_ids is None:
        if n == len(labels):
            return None, []
        raise InputError(
            f"{path} has {n} rows, but {table} has {len(labels)} and no column image_id to join them by; "
            f"add that column to the table, name its own metadata with --metadata, or {_LEAVE_OUT}"
        )
    if np.array_equal(image_ids, metadata.image_ids):
        return None, []
    at: dict[str, int] = {}
    twice: set[str] = set()
    for row, name in enumerate(metadata.image_ids.tolist()):
        if at.setdefault(name, row) != row:
            twice.add(name)
    asked = image_ids.tolist()
    for row, name in enumerate(asked):
        if name not in at or name in twice:
            found = "does not occur" if name not in at else "occurs more than once"
            raise InputError(
                f"{place(table, row)}, column 'image_id': received {shown(name)}, which {found} in {path}; "
                f"expected one row per picture, so fix it there, or {_LEAVE_OUT}"
            )
    left_out = n - len(set(asked))
    why = f"its rows are in another order than those of {table.name}"
    if left_out:
        why = f"{left_out:,} of its {n:,} rows match no picture in {table.name}"
    note = f"{path.name} is joined by image_id: {why}"
    return np.array([at[name] for name in asked], dtype=np.intp), [note]


def _take(metadata: Metadata, rows: npt.NDArray[np.intp]) -> Metadata:
    return replace(
        metadata,
        lesion_ids=metadata.lesion_ids[rows],
        image_ids=metadata.image_ids[rows],
        diagnoses=metadata.diagnoses[rows],
        clinical={name: values[rows] for name, values in metadata.clinical.items()},
        sources={name: values[rows] for name, values in metadata.sources.items()},
    )


def _diagnosis_of_each(labels: Labels, diagnoses: Words) -> list[str] | None:
    """Return the diagnosis of each label if labels and diagnoses match one to one, otherwise None."""
    _, first_rows = np.unique(labels, return_index=True)
    names = diagnoses[first_rows]
    found: list[str] = names.tolist()
    return found if len(set(found)) == len(found) and bool((diagnoses == names[labels]).all()) else None


def _groups(diagnoses: Words, labels: Labels) -> list[list[str]]:
    """Return the diagnoses found for each label."""
    pairs = sorted(set(zip(labels.tolist(), diagnoses.tolist(), strict=True)))
    groups: list[list[str]] = [[] for _ in range(int(labels.max()) + 1)]
    for label, name in pairs:
        groups[label].append(name)
    return groups


def _check_agreement(
    metadata: Metadata, table: Path, labels: Labels, line_of: npt.NDArray[np.integer], by_row: bool
) -> None:
    """Raise an error that explains the mismatch if a diagnosis occurs with several labels."""
    names, codes = np.unique(metadata.diagnoses, return_inverse=True)
    counts = np.zeros((len(names), int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (codes, labels), 1)
    if ((counts > 0).sum(axis=1) == 1).all():
        return
    # If labels have equally many rows of a diagnosis, prefer the label with fewer rows of other diagnoses.
    usual = (counts + 0.5 * counts / counts.sum(axis=0)).argmax(axis=1)
    strays = np.flatnonzero(labels != usual[codes])
    row = int(strays[0])
    dx, label = names[codes[row]], int(labels[row])
    where = f"{place(metadata.path, int(line_of[row]))}, column 'dx'"
    beside = table if by_row else place(table, row)
    seen = f"{where}: {shown(str(dx))} with label {label} in {beside}, but label {usual[codes[row]]} is usual"
    ways = f"name the metadata of this table with --metadata, or {_LEAVE_OUT}"
    if ((counts > 0).sum(axis=0) == 1).all():
        raise InputError(f"{seen}; expected one label per dx, so merge these labels, or {_LEAVE_OUT}")
    if len(strays) == 1 or len(strays) <= (1 - _NEARLY_ALL) * len(labels):
        raise InputError(f"{seen}; {len(strays)} of {len(labels)} rows disagree like this; fix them, {ways}")
    if by_row:
        same = sorted(np.bincount(labels).tolist()) == sorted(np.bincount(codes).tolist())
        what = "the same rows in another order" if same else "other rows, or the same in another order"
        ways = f"add a column image_id to the table to join them by, {ways}"
        raise InputError(
            f"{metadata.path} holds {what}, compared with {table}: {len(strays)} of {len(labels)} rows "
            f"disagree, the first is {seen}; {ways}"
        )
    raise InputError(f"{seen}; expected one label per dx, so fix the labels or image_ids, {ways}")


def _check_spelling(metadata: Metadata, groups: list[list[str]], line_of: npt.NDArray[np.integer]) -> None:
    """Raise an error for unknown diagnoses if each label has one known diagnosis, which suggests typos."""
    strange = [name for group in groups for name in group if name not in facts.CLASS_NAMES]
    if not strange or any(len(group) - len({*group} & {*strange}) != 1 for group in groups):
        return
    row = int(np.argmax(np.isin(metadata.diagnoses, strange)))
    raise InputError(
        f"{place(metadata.path, int(line_of[row]))}, column 'dx': received "
        f"{shown(str(metadata.diagnoses[row]))}, which is not a known class; expected one of "
        f"{', '.join(facts.CLASS_NAMES)}, so fix the cell, or name the classes with --classes"
    )


def _name_groups(groups: list[list[str]], stated: Stated, path: Path) -> tuple[tuple[str, ...], str]:
    """Name each label after its diagnoses, and return a note on the source of the names."""
    own = tuple(group[0] if len(group) == 1 else f"class_{code}" for code, group in enumerate(groups))
    if stated.class_names is not None:
        _check_stated(stated.class_names, groups, stated.names_by, path)
    names, by = (stated.class_names or own), (stated.names_by if stated.class_names else f"dx of {path.name}")
    if all(len(group) == 1 for group in groups):
        listed = _listed(f"{code} {name}" for code, name in enumerate(own))
        if names != own:
            return names, f"class names come from {by}; dx of {path.name} calls them {listed}"
        unlike = set(own) == set(facts.CLASS_NAMES) and own != facts.CLASS_NAMES
        codes = f", whose codes are not those of HAM10000's own tables: {listed}" if unlike else ""
        return names, f"class names come from {by}{codes}"
    listed = _listed(f"{name} = {', '.join(group)}" for name, group in zip(names, groups, strict=True))
    advice = "" if stated.class_names else f"; to name them, add --classes with {len(groups)} names"
    source = f"; their names come from {by}" if stated.class_names else ""
    return names, f"classes are groups of diagnoses, by dx of {path.name}: {listed}{source}{advice}"


def _check_stated(names: tuple[str, ...], groups: list[list[str]], by: str, path: Path) -> None:
    """Raise an error if a stated class name is the diagnosis of another label."""
    diagnoses = {name for group in groups for name in group} | set(facts.CLASS_NAMES)
    for code, (name, group) in enumerate(zip(names, groups, strict=True)):
        if name in diagnoses and group != [name]:
            raise InputError(
                f"{by} calls label {code} {shown(name)}, but in {path} that label has the dx "
                f"{_listed(map(shown, group))}; expected the names in the order of the labels, so correct "
                f"{by} or leave it out"
            )


def _listed(parts: Iterable[str]) -> str:
    found = list(parts)
    more = f" and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    return "; ".join(found[:_MOST_LISTED]) + more


def _own_lesions(metadata: Metadata) -> tuple[Words | None, list[str]]:
    """Return lesion ids, with a separate id for each picture that lacks one, and a note on their number."""
    ids = metadata.lesion_ids
    unknown = ids == ""
    count = int(unknown.sum())
    if count == len(ids):
        return None, []
    if not count:
        return ids, []
    prefix = "lesion of "
    while any(name.startswith(prefix) for name in ids.tolist()):
        prefix = f"the {prefix}"
    # Derive the id from the image id to keep copies of the same picture together.
    filled = np.where(unknown, np.char.add(prefix, metadata.image_ids), ids)
    return filled, [
        f"{count:,} of {len(ids):,} pictures have no lesion_id in {metadata.path.name}; each counts as a "
        "separate lesion"
    ]


def _join_known(metadata: Metadata, lesion_ids: Words) -> tuple[Words, list[str]]:
    """Merge lesion ids of pictures known to show the same lesion, and return a note on the merged pairs."""
    row_of = {name: row for row, name in enumerate(metadata.image_ids.tolist())}
    joined, found = 0, lesion_ids
    for numbers in facts.SAME_LESION:
        rows = [row_of[name] for name in (f"ISIC_{number:07d}" for number in numbers) if name in row_of]
        if len(rows) == 2 and found[rows[0]] != found[rows[1]] and len({*metadata.diagnoses[rows]}) == 1:
            found = np.where(found == found[rows[1]], found[rows[0]], found)
            joined += 1
    if not joined:
        return lesion_ids, []
    pairs = "1 pair" if joined == 1 else f"{joined} pairs"
    return found, [
        f"{pairs} of lesion ids in {metadata.path.name} are merged: their pictures are known to show the "
        "same lesion under two ids (Abhishek et al. 2025)"
    ]


def _check_lesions(
    metadata: Metadata,
    lesion_ids: Words,
    codes: npt.NDArray[np.integer],
    line_of: npt.NDArray[np.integer],
    or_else: str,
) -> None:
    """Raise an error if a lesion has several diagnoses; equal `codes` mean equal diagnoses."""
    lesions, numbers = lesion_ids.tolist(), codes.tolist()
    last = dict(zip(lesions, numbers, strict=True))
    if list(map(last.__getitem__, lesions)) == numbers:
        return
    diagnoses = metadata.diagnoses.tolist()
    first: dict[str, int] = {}
    for row, lesion in enumerate(lesions):
        earlier = first.setdefault(lesion, row)
        if diagnoses[row] != diagnoses[earlier]:
            raise InputError(
                f"{metadata.path}: the lesion {shown(lesion)} has the dx {shown(diagnoses[earlier])} in row "
                f"{line_of[earlier]} and {shown(diagnoses[row])} in row {line_of[row]}; expected one dx per "
                "lesion, so fix it, or give the pictures separate lesion_ids (empty if unknown)"
                f"{or_else}"
            )


def join_tables(table: PixelTable, other: PixelTable) -> PixelTable:
    """Join a training table and a test table with the same classes and picture size, for an external test.

    The joined table is named after both. If a table has no lesion ids, each of its pictures counts as a
    separate lesion. The clinical columns are those of `table`; columns that `other` lacks are unknown there.

    Raises
    ------
    InputError
        If the classes or picture sizes differ.
    """
    _check_alike(table, other)
    codes = np.array([table.class_names.index(name) for name in other.class_names])
    lesions = None
    if table.lesion_ids is not None or other.lesion_ids is not None:
        lesions = np.concatenate([_lesions(table, "trained on"), _lesions(other, "tested on")])
    return PixelTable(
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
