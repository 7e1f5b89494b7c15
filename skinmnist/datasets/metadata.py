"""Read the metadata of a pixel table: a CSV file with lesion and patient data for each picture."""

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
from skinmnist.datasets.classes_file import read_about, spell_classes
from skinmnist.datasets.csv_table import check_width
from skinmnist.datasets.dialects import unpacked
from skinmnist.datasets.files import decode, in_own_folder, place, table_stem, without_mark
from skinmnist.errors import InputError
from skinmnist.text import JOINERS, LONGEST_NAME, is_name, printable, shown, unguarded_cell

#: Required columns; `facts.CLINICAL_COLUMNS` and columns with few distinct values are also read.
REQUIRED_COLUMNS = ("lesion_id", "image_id", "dx")
#: Maximum number of source columns, and of distinct values per column; more values suggest ids or free text.
_MOST_SOURCES, _MOST_WORDS = 32, 100
_SOURCES = ("source_names", "sources")

#: Lowercase cell values that represent an unknown value.
_UNKNOWN = frozenset(["", "unknown", "unk", "nan", "none", "na", "n/a", "<na>", "null", "-", "--", "?"])
_OLDEST = 130
#: Possible separators: Dataverse files use tabs, and European versions of Excel use semicolons.
_SEPARATORS = (",", "\t", ";")
#: File names of the HAM10000 metadata on Kaggle and on the Harvard Dataverse.
_FOUND_NAMES = (facts.METADATA_FILE, "HAM10000_metadata.tab", "HAM10000_metadata")


@dataclass(frozen=True, eq=False)
class Metadata:
    """The rows of a metadata file, with stripped cells and lowercase clinical values."""

    path: Path
    lesion_ids: npt.NDArray[np.str_]  # shape (n,), str: ``""`` if unknown
    image_ids: npt.NDArray[np.str_]  # shape (n,), str
    diagnoses: npt.NDArray[np.str_]  # shape (n,), str: consistent spelling, as in HAM10000 if possible
    #: shape (n,) each: the available `facts.CLINICAL_COLUMNS`, as in `PixelTable.clinical`.
    clinical: dict[str, npt.NDArray[Any]]
    #: shape (n,) each: columns with few distinct values, as in `PixelTable.sources`.
    sources: dict[str, npt.NDArray[np.str_]]
    sha256: str  # SHA-256 of the file


def find_metadata(table: Path) -> Path | None:
    """Find ``<table stem>_metadata.csv`` or ``HAM10000_metadata.csv`` next to a table; None if missing."""
    names = (f"{table_stem(table)}_metadata.csv", *_FOUND_NAMES)
    folders = [table.parent, *([table.parent.parent] if table.parent.name == table.name else [])]
    files = (in_own_folder(folder / name) for folder in folders for name in names)
    return next((file for file in files if file.is_file()), None)


def read_metadata(path: Path) -> Metadata:
    """Read a CSV file with the `REQUIRED_COLUMNS` and one row per picture; lesion ids may be unknown."""
    names = (*REQUIRED_COLUMNS, *facts.CLINICAL_COLUMNS, *_SOURCES)
    kind = f"metadata-6{'-built' if _is_built(path) else ''}"
    arrays, sha256 = parse_once(path, kind, names, partial(_parse, path=path), _is_metadata)
    lesion_ids, image_ids, diagnoses = (np.array(arrays[name]) for name in REQUIRED_COLUMNS)
    clinical = {name: np.array(arrays[name]) for name in facts.CLINICAL_COLUMNS if len(arrays[name])}
    words = np.array(arrays["sources"])
    sources = {str(name): words[place] for place, name in enumerate(arrays["source_names"])}
    return Metadata(path, lesion_ids, image_ids, diagnoses, clinical, sources, sha256)


def read_rows(content: bytes, path: Path) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the header of a metadata file, and the location (for errors) and cells of each row.

    Cells escaped by `skinmnist.build` are unescaped.
    """
    as_meant = unguarded_cell if _is_built(path) else str
    text = decode(without_mark(unpacked(content, path)), path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
    rows: list[tuple[str, list[str]]] = []
    try:
        header = list(map(as_meant, next(reader, [])))
        truth = _truth_columns(header)
        if not truth:
            _check_header(header, path)
        for cells in reader:
            where = place(path, len(rows), reader.line_num)
            check_width(len(cells), header, where)
            meant = list(map(as_meant, cells))
            rows.append((where, _of_truth(meant, truth, where) if truth else meant))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num} cannot be read as CSV ({error}); expected cells separated by "
            f"commas, so fix the quotes in that line"
        ) from None
    if not rows:
        raise InputError(f"{path} has a header but no rows; expected one row per picture, so add them")
    return list(REQUIRED_COLUMNS) if truth else header, rows


def _truth_columns(header: list[str]) -> list[str]:
    """Return the class columns of an ISIC ground-truth file, or an empty list for any other file."""
    first, *classes = [name.strip() for name in header] or [""]
    spelt = spell_classes(classes)
    known = {*spelt} & {*facts.CLASS_NAMES}
    is_truth = first in ("image", "image_id") and len(known) > 1 and len({*spelt}) == len(spelt)
    return spelt if is_truth and not {"dx", "lesion_id"} & {*spelt} else []


def _of_truth(cells: list[str], classes: list[str], where: str) -> list[str]:
    """Convert a ground-truth row to lesion id, picture name and diagnosis; the lesion is unknown."""
    numbers = [re.sub(r"\.0*$", "", cell.strip()) for cell in cells[1:]]
    if sorted(numbers) != ["0"] * (len(classes) - 1) + ["1"]:
        raise InputError(
            f"{where}: expected a single 1 among the columns of {', '.join(classes)}, and 0 in the others, "
            "so fix the row or leave the picture out"
        )
    return ["", cells[0], classes[numbers.index("1")]]


def _separator(text: str) -> str:
    """Return the separator: a comma, unless another separator yields the required columns."""
    header = text.partition("\n")[0].rstrip("\r")
    for separator in _SEPARATORS:
        if {*REQUIRED_COLUMNS} <= {name.strip('" ') for name in header.split(separator)}:
            return separator
    return _SEPARATORS[0]


def _is_built(path: Path) -> bool:
    """Return whether `skinmnist.build` wrote the metadata, with formulas escaped for spreadsheets."""
    about = read_about(path.with_name(f"{path.stem.removesuffix('_metadata')}.csv"))
    return about is not None and about.metadata_sha256 is not None


def _parse(content: bytes, path: Path) -> Arrays:
    """Parse the columns; missing clinical columns become empty arrays. Raise InputError if invalid."""
    header, rows = read_rows(content, path)
    names = (*REQUIRED_COLUMNS, *facts.CLINICAL_COLUMNS)
    positions = {name: header.index(name) for name in names if name in header}
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for where, cells in rows:
        for name, position in positions.items():
            columns[name].append(read_cell(name, cells[position], where))
    columns["dx"] = spell_classes(columns["dx"])
    found = {name: np.array(column) for name, column in columns.items()}
    return found | dict(zip(_SOURCES, _read_sources(header, rows), strict=True))


def _read_sources(
    header: list[str], rows: list[tuple[str, list[str]]]
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    """Return the names (c,) and values (c, n) of other columns that may identify the source of a picture."""
    names: list[str] = []
    columns: list[list[str]] = []
    for position, name in enumerate(header):
        known = name in (*REQUIRED_COLUMNS, *facts.CLINICAL_COLUMNS)
        if known or header.count(name) > 1 or not is_name(name) or len(names) == _MOST_SOURCES:
            continue
        words = [cells[position].strip().lower() for _, cells in rows]
        words = ["" if word in _UNKNOWN else word for word in words]
        different = {*words} - {""}
        if 1 < len(different) <= _MOST_WORDS and all(map(is_name, different)):
            names.append(name)
            columns.append(words)
    return np.array(names, dtype=np.str_), np.array(columns, dtype=np.str_).reshape(len(names), len(rows))


def _are_sources(names: npt.NDArray[Any], words: npt.NDArray[Any], n: int) -> bool:
    """Return whether cached arrays are a possible result of `_read_sources`."""
    if names.dtype.kind != "U" or words.dtype.kind != "U" or names.ndim != 1:
        return False
    if words.shape != (len(names), n) or len(names) > _MOST_SOURCES:
        return False
    try:
        named = all(map(is_name, names.tolist()))
        return named and all(
            len(found := {*column.tolist()} - {""}) <= _MOST_WORDS and all(map(is_name, found))
            for column in words
        )
    except ValueError:  # An invalid code point.
        return False


def _is_metadata(arrays: Arrays) -> bool:
    """Return whether cached arrays are a possible result of `_parse`."""
    n = len(arrays["dx"])
    if not _are_sources(arrays["source_names"], arrays["sources"], n):
        return False
    for name, values in arrays.items():
        if name in _SOURCES:
            continue
        absent = name in facts.CLINICAL_COLUMNS and not len(values)
        if values.ndim != 1 or len(values) != (0 if absent else n):
            return False
        if not absent and not (_are_ages(values) if name == "age" else are_words(name, values)):
            return False
    return n > 0


def _are_ages(values: npt.NDArray[Any]) -> bool:
    return values.dtype == np.float64 and bool((np.isnan(values) | (values >= 0) & (values <= _OLDEST)).all())


def are_words(name: str, values: npt.NDArray[Any]) -> bool:
    """Return whether an array contains valid cells of a column."""
    if values.dtype.kind != "U" or not values.dtype.isnative:
        return False
    codes = values.view(np.uint32).reshape(len(values), -1)
    ends = codes == 0
    plain = ends | (codes - ord(" ") <= ord("~") - ord(" "))
    if codes.shape[1] <= LONGEST_NAME and plain.all() and (ends[:, :-1] <= ends[:, 1:]).all():
        return True
    if codes.max() > sys.maxunicode:  # Python raises an error for such characters.
        return False
    try:
        return all(read_cell(name, word, "") == word for word in set(values.tolist()))
    except InputError:
        return False


def _check_header(header: list[str], path: Path) -> None:
    """Check that each required column occurs once, and each clinical column at most once."""
    required = ", ".join(REQUIRED_COLUMNS)
    if not header:
        raise InputError(f"{path} is empty; expected a header with {required}, and rows, so fill it")
    if "label" in header and len(header) > 100:
        raise InputError(
            f"{path} is a pixel table, not metadata; name it as the table, and pass a file with {required} "
            f"to --metadata"
        )
    for name in REQUIRED_COLUMNS:
        if header.count(name) != 1:
            found = f"{header.count(name)} times" if name in header else "nowhere"
            raise InputError(
                f"{path}, header (line 1): the column {name!r} appears {found} among {len(header)} columns; "
                f"expected {required} once each, so fix the header"
            )
    for name in facts.CLINICAL_COLUMNS:
        if header.count(name) > 1:
            raise InputError(
                f"{path}, header (line 1): the column {name!r} appears {header.count(name)} times among "
                f"{len(header)} columns; expected it once, so fix the header"
            )


def read_cell(column: str, cell: str, where: str) -> str | float:
    """Return a stripped name, or a clinical value as stored in `PixelTable.clinical`."""
    if len(cell) > LONGEST_NAME or (column in ("image_id", "dx") and not cell.strip()):
        received = f"{len(cell)} characters" if cell.strip() else "an empty cell"
        raise InputError(
            f"{where}, column {column!r}: received {received}; expected a name of at most "
            f"{LONGEST_NAME} characters, so fix the cell"
        )
    # Ids that look the same but differ would split a lesion; other values may contain joiners or line breaks.
    plain = cell.isascii() and cell.isprintable()
    seen = cell if plain or column in REQUIRED_COLUMNS else " ".join(re.sub(f"[{JOINERS}]", "", cell).split())
    if not plain and printable(seen, None) != seen:
        raise InputError(
            f"{where}, column {column!r}: received {shown(cell)}, with invisible characters; "
            "expected plain text, so fix the cell"
        )
    word = cell.strip()
    if column in ("image_id", "dx"):
        return word
    unknown = word.lower() in _UNKNOWN
    if column == "age":
        return math.nan if unknown else _age(word, where)
    return "" if unknown else word if column == "lesion_id" else word.lower()


def _age(cell: str, where: str) -> float:
    try:
        # A decimal comma can only occur in quotes or if the separator is not a comma.
        age = float(cell.replace(",", "."))
    except ValueError:
        age = math.nan
    if not 0 <= age <= _OLDEST:
        raise InputError(
            f"{where}, column 'age': received {shown(cell)}; expected years from 0 to {_OLDEST}, or an empty "
            "cell if the age is unknown, so fix the cell"
        )
    return age
