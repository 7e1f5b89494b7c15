"""The metadata of a pixel table: the lesions and patients behind it, joined where all diagnoses agree."""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.cache import Arrays, parse_once
from skinmnist.datasets.classes_file import read_about
from skinmnist.datasets.csv_table import check_width
from skinmnist.datasets.files import decode, place, without_mark
from skinmnist.errors import InputError
from skinmnist.text import JOINERS, LONGEST_NAME, printable, shown, unguarded_cell

#: The columns that must be there; `facts.CLINICAL_COLUMNS` are read too, any others are left alone.
REQUIRED_COLUMNS = ("lesion_id", "image_id", "dx")

#: Cells that stand for an unknown value.
_UNKNOWN = {"", "unknown", "na", "nan"}
_OLDEST = 130

_FIX = "name the metadata of this table, or move this file away to read the table without"


@dataclass(frozen=True, eq=False)
class Metadata:
    """The metadata of each row of a pixel table."""

    path: Path
    #: shape (n,), str: None where every cell of the column is empty: the lesions are unknown.
    lesion_ids: npt.NDArray[np.str_] | None
    image_ids: npt.NDArray[np.str_]  # shape (n,), str
    diagnoses: npt.NDArray[np.str_]  # shape (n,), str
    #: shape (n,): Those of `facts.CLINICAL_COLUMNS` that are there, as `PixelTable.clinical` holds them.
    clinical: dict[str, npt.NDArray[Any]]
    sha256: str  # Of the file's content


def find_metadata(table: Path) -> Path | None:
    """Return ``<table stem>_metadata.csv`` or else ``HAM10000_metadata.csv`` beside a table, or None."""
    names = (f"{table.stem}_metadata.csv", facts.METADATA_FILE)
    return next((file for file in (table.with_name(name) for name in names) if file.is_file()), None)


def read_metadata(path: Path) -> Metadata:
    """Read a CSV with the columns `REQUIRED_COLUMNS`, one row per picture; all lesion ids may be empty."""
    names = (*REQUIRED_COLUMNS, *facts.CLINICAL_COLUMNS)
    kind = f"metadata-{'built' if _is_built(path) else '3'}"
    arrays, sha256 = parse_once(path, kind, names, partial(_parse, path=path), _is_metadata)
    lesion_ids, image_ids, diagnoses = (np.array(arrays[name]) for name in REQUIRED_COLUMNS)
    clinical = {name: np.array(arrays[name]) for name in facts.CLINICAL_COLUMNS if len(arrays[name])}
    known = lesion_ids if lesion_ids.any() else None
    return Metadata(path, known, image_ids, diagnoses, clinical, sha256)


def match_classes(
    metadata: Metadata, labels: npt.NDArray[np.int64], table: Path, known: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Check that the metadata describes a table row by row, and return its class names in code order.

    Where names are `known`, every ``dx`` must be the one at the row's label; else every label must go with
    one ``dx`` and every ``dx`` with one label. `labels` are codes 0..k-1, each on at least one row.
    """
    diagnoses = metadata.diagnoses
    if len(diagnoses) != len(labels):
        raise InputError(
            f"{metadata.path} has {len(diagnoses)} rows where {table} has {len(labels)}; expected one row "
            f"for each picture in the same order, so {_FIX}"
        )
    _, first_rows = np.unique(labels, return_index=True)
    if known is not None:
        _check_known(metadata, known)
    names = diagnoses[first_rows] if known is None else np.array(known)
    differs = diagnoses != names[labels]
    if differs.any():
        row = int(np.argmax(differs))
        raise InputError(
            f"{_received(metadata, row)} where {table} has the label {labels[row]} ({names[labels[row]]}); "
            f"expected the rows of both files in the same order, so {_FIX}"
        )
    _check_one_code_each(metadata, labels, first_rows, table)
    return tuple(names.tolist())


def _check_known(metadata: Metadata, known: tuple[str, ...]) -> None:
    unknown = ~np.isin(metadata.diagnoses, known)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise InputError(
            f"{_received(metadata, row)}, which is not a known class; expected one of "
            f"{', '.join(known)}, so fix the cell"
        )


def _check_one_code_each(
    metadata: Metadata, labels: npt.NDArray[np.int64], first_rows: npt.NDArray[np.intp], table: Path
) -> None:
    """Check that no diagnosis stands at two codes, given the first row of each code."""
    seen: dict[str, int] = {}
    for row in np.sort(first_rows).tolist():
        earlier = seen.setdefault(str(metadata.diagnoses[row]), row)
        if earlier != row:
            raise InputError(
                f"{_received(metadata, row)} where {table} has the label {labels[row]}, but "
                f"{labels[earlier]} in row {earlier}; expected one label for each diagnosis, so {_FIX}"
            )


def _received(metadata: Metadata, row: int) -> str:
    return f"{place(metadata.path, row)}, column 'dx': received {shown(str(metadata.diagnoses[row]))}"


def read_rows(content: bytes, path: Path) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the header of a metadata file and, for each row, its place (for errors) and its cells.

    Cells are as written, or as they were before a build guarded them.
    """
    as_meant = unguarded_cell if _is_built(path) else str
    reader = csv.reader(io.StringIO(decode(without_mark(content), path), newline=""), strict=True)
    rows: list[tuple[str, list[str]]] = []
    try:
        header = list(map(as_meant, next(reader, [])))
        _check_header(header, path)
        for cells in reader:
            where = place(path, len(rows), reader.line_num)
            check_width(len(cells), header, where)
            rows.append((where, list(map(as_meant, cells))))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num} cannot be read as CSV ({error}); expected cells with commas "
            f"between, so fix the quotes of that line"
        ) from None
    if not rows:
        raise InputError(f"{path} has a header and no rows; expected one row for each picture, so add them")
    return header, rows


def _is_built(path: Path) -> bool:
    """Return whether metadata was written by `skinmnist.build`, which guards it against spreadsheets."""
    about = read_about(path.with_name(f"{path.stem.removesuffix('_metadata')}.csv"))
    return about is not None and about.metadata_sha256 is not None


def _parse(content: bytes, path: Path) -> Arrays:
    """Read the columns, empty arrays for clinical ones that are not there; every fault is an `InputError`."""
    header, rows = read_rows(content, path)
    names = (*REQUIRED_COLUMNS, *facts.CLINICAL_COLUMNS)
    positions = {name: header.index(name) for name in names if name in header}
    lesions = positions["lesion_id"]
    required = set(REQUIRED_COLUMNS)
    if not any(cells[lesions].strip() for _, cells in rows):
        required.remove("lesion_id")  # All empty: the lesions are unknown.
    columns: dict[str, list[str | float]] = {name: [] for name in names}
    for where, cells in rows:
        for name, position in positions.items():
            columns[name].append(_read_cell(name, cells[position], where, name in required))
    return {name: np.array(column) for name, column in columns.items()}


def _is_metadata(arrays: Arrays) -> bool:
    """Return whether arrays are columns as `_parse` returns them."""
    n = len(arrays["dx"])
    for name, values in arrays.items():
        absent = name in facts.CLINICAL_COLUMNS and not len(values)
        if values.ndim != 1 or len(values) != (0 if absent else n):
            return False
        if not absent and not (_are_ages(values) if name == "age" else _are_words(name, values)):
            return False
    return n > 0


def _are_ages(values: npt.NDArray[Any]) -> bool:
    return values.dtype == np.float64 and bool((np.isnan(values) | (values >= 0) & (values <= _OLDEST)).all())


def _are_words(name: str, values: npt.NDArray[Any]) -> bool:
    if values.dtype.kind != "U" or not values.dtype.isnative:
        return False
    codes = values.view(np.uint32).reshape(len(values), -1)
    ends = codes == 0
    plain = ends | (codes - ord(" ") <= ord("~") - ord(" "))
    if codes.shape[1] <= LONGEST_NAME and plain.all() and (ends[:, :-1] <= ends[:, 1:]).all():
        return True
    if codes.max() > sys.maxunicode:  # Python cannot even look at such a character.
        return False
    try:
        return all(_read_cell(name, word, "", False) in (word, "") for word in set(values.tolist()))
    except InputError:
        return False


def _check_header(header: list[str], path: Path) -> None:
    """Check that the required columns stand there once, and the clinical ones at most once."""
    required = ", ".join(REQUIRED_COLUMNS)
    if not header:
        raise InputError(f"{path} is empty; expected a header with {required}, and rows, so fill it")
    for name in REQUIRED_COLUMNS:
        if header.count(name) != 1:
            found = f"{header.count(name)} times" if name in header else "nowhere"
            raise InputError(
                f"{path}, header (line 1): the column {name!r} stands {found} among {len(header)} columns; "
                f"expected {required} once each, so fix the header"
            )
    for name in facts.CLINICAL_COLUMNS:
        if header.count(name) > 1:
            raise InputError(
                f"{path}, header (line 1): the column {name!r} stands {header.count(name)} times among "
                f"{len(header)} columns; expected it once, so fix the header"
            )


def _read_cell(column: str, cell: str, where: str, required: bool) -> str | float:
    """Return a name as it stands, a clinical cell as `PixelTable.clinical` holds it."""
    if len(cell) > LONGEST_NAME or (required and not cell.strip()):
        received = f"{len(cell)} characters" if cell.strip() else "an empty cell"
        raise InputError(
            f"{where}, column {column!r}: received {received}; expected a name of at most "
            f"{LONGEST_NAME} characters, so fix the cell"
        )
    # Ids that only look alike would split a lesion; words may be joined, and stand on two lines.
    plain = cell.isascii() and cell.isprintable()
    seen = cell if plain or column in REQUIRED_COLUMNS else " ".join(re.sub(f"[{JOINERS}]", "", cell).split())
    if not plain and printable(seen, None) != seen:
        raise InputError(
            f"{where}, column {column!r}: received {shown(cell)}, with characters that cannot be seen; "
            "expected plain text, so fix the cell"
        )
    if column in REQUIRED_COLUMNS:
        return cell if required else ""
    unknown = cell.strip().lower() in _UNKNOWN
    if column == "age":
        return math.nan if unknown else _age(cell, where)
    return "" if unknown else cell.strip()


def _age(cell: str, where: str) -> float:
    try:
        age = float(cell)
    except ValueError:
        age = math.nan
    if not 0 <= age <= _OLDEST:
        raise InputError(
            f"{where}, column 'age': received {shown(cell)}; expected years from 0 to {_OLDEST}, or nothing "
            "where the age is unknown, so fix the cell"
        )
    return age
