"""Convert pixel tables in other CSV dialects to plain tables.

Supported variations are compressed files, other separators, an index column, floats, and class names or
one-hot columns instead of codes. Unambiguous tables are converted with a note. All others are rejected with
an error that states the cause and gives pandas code to fix it.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.classes_file import in_code_order, note_spellings, spell_classes
from skinmnist.datasets.files import GZIP, ZIP, decode, place
from skinmnist.errors import InputError
from skinmnist.text import is_name, shown

#: Maximum size of a decompressed file: ten times HAM10000 at 28 x 28. Larger tables are read in chunks.
MOST_UNPACKED = 1 << 30
#: Maximum distance of 255 times a pixel from an integer; rounding to four decimals causes at most 0.013.
_OFF = 0.02
_SEPARATORS = {"\t": ("tabs", r"\t"), ";": ("semicolons", ";")}
_INDEX_NAMES = ("", "Unnamed: 0", "index")
_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")
_FLOAT = rb"-?[0-9]+(?:\.[0-9]*(?:[eE][-+]?[0-9]{1,2})?)?"
_FLOAT_ROW = re.compile(rb"%b(?:,%b)*" % (_FLOAT, _FLOAT))
_WORD = re.compile(rb"[^0-9.,+-][^,]*")
_UNKNOWN = frozenset(["nan", "none", "na", "n/a", "null", "unknown"])
_DECIMALS = [str(level).encode() for level in range(256)]
_DAMAGES = (EOFError, OSError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Plain:
    """A comma-separated table of integers, with notes on the conversions that produced it."""

    header: str
    body: bytes  # Complete lines, without the header
    class_names: tuple[str, ...] = ()  # In code order; empty unless the labels were names
    notes: tuple[str, ...] = ()


def unpacked(content: bytes, path: Path) -> bytes:
    """Decompress a gzip file or a zip archive of one file; return any other contents unchanged."""
    if content.startswith(GZIP):
        return _limited(lambda: cast(IO[bytes], gzip.GzipFile(fileobj=io.BytesIO(content))), path)
    if not content.startswith(ZIP):
        return content
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _DAMAGES as error:
        raise InputError(f"{path} is a damaged archive ({error}); expected a CSV file") from None
    names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX/" not in name]
    if any(name.endswith(".npy") for name in names):
        raise InputError(
            f"{path} holds numpy arrays, like the files of MedMNIST; expected a CSV, so write one: "
            f"import numpy, pandas; d = numpy.load({path.name!r}); y = d['train_labels'].ravel(); "
            "pandas.DataFrame(d['train_images'].reshape(len(y), -1)).add_prefix('pixel').assign(label=y)"
            f".to_csv({f'{path.stem}.csv'!r}, index=False)"
        )
    if len(names) != 1 or PurePosixPath(names[0]).suffix.lower() in (".xml", ".zip"):
        raise InputError(
            f"{path} is an archive of {len(names)} files; expected a single CSV in it, so unpack it and name "
            "the table inside"
        )
    return _limited(lambda: archive.open(names[0]), path)


def _limited(open_inner: Callable[[], AbstractContextManager[IO[bytes]]], path: Path) -> bytes:
    """Decompress a file, up to `MOST_UNPACKED` bytes."""
    try:
        with open_inner() as stream:
            content = stream.read(MOST_UNPACKED + 1)
    except _DAMAGES as error:
        raise InputError(
            f"{path} cannot be unpacked ({error}); expected a complete file, so copy it again"
        ) from None
    if len(content) > MOST_UNPACKED:
        raise InputError(
            f"{path} unpacks to more than {MOST_UNPACKED:,} bytes; expected less, so unpack it and name the "
            "CSV itself, which may be of any size"
        )
    return content


def plain_table(header: str, body: bytes, path: Path) -> Plain:
    """Convert a table with LF line endings to comma-separated integers; most tables need no conversion.

    Raises
    ------
    InputError
        If the dialect is recognised but the cells are ambiguous.
    """
    table = _with_commas(Plain(header, body), path)
    _check_header(table.header, path)
    for step in (_with_pixel_names, _without_index, _without_one_hot, _with_codes, _with_whole_numbers):
        table = step(table, path)
    return table


def _with_commas(table: Plain, path: Path) -> Plain:
    """Replace tab or semicolon separators with commas."""
    found = [sign for sign in _SEPARATORS if sign in table.header]
    if "," in table.header or len(found) != 1:
        return table
    sign, (name, written) = found[0], _SEPARATORS[found[0]]
    if b"," in table.body:
        options = f", sep='{written}', decimal=','"
        raise InputError(
            f"{path} has {name} as separators and commas in its cells; expected decimal points, so "
            f"rewrite it: {_pandas(path, options, '')}"
        )
    body = table.body.replace(sign.encode(), b",")
    return Plain(table.header.replace(sign, ","), body, notes=(f"its cells are separated by {name}",))


def _check_header(header: str, path: Path) -> None:
    """Raise an error if the first line has no end or holds numbers, or the label column has another name."""
    if "\r" in header:
        raise InputError(
            f"{path}: its lines end with a carriage return alone, as on old Macs; expected line feeds, so "
            f"rewrite it: {_pandas(path, '', '')}"
        )
    names = header.split(",")
    numbers = sum(_NUMBER.fullmatch(name) is not None for name in names)
    if len(names) > 2 and numbers >= len(names) - 1 and "label" not in names:
        mend = "t.columns = [*(f'pixel{i}' for i in range(t.shape[1] - 1)), 'label']; "
        raise InputError(
            f"{path}: the first line holds numbers, not column names; expected pixel columns and 'label' "
            "(here the last, else put it first), so write the names: "
            f"{_pandas(path, ', header=None', mend)}"
        )
    others = [name for name in names if not name.startswith("pixel")]
    if len(names) > 2 and len(others) == 1 and others[0] in (names[0], names[-1]) and others != ["label"]:
        mend = f"t = t.rename(columns={{{others[0]!r}: 'label'}}); "
        if is_name(others[0]) and others[0] not in (*_INDEX_NAMES, "image_id"):
            raise InputError(
                f"{path}, header (line 1): none of the {len(names)} columns is 'label', and "
                f"{shown(others[0])} is the only one that is not a pixel; if it holds the classes, "
                f"rename it: {_pandas(path, '', mend)}"
            )


def _with_pixel_names(table: Plain, path: Path) -> Plain:
    """Rename pixel columns whose names are only numbers from 0."""
    names = table.header.split(",")
    numbered = [name for name in names if name.isdecimal()]
    if len(numbered) < max(2, len(names) - 3) or numbered != [str(index) for index in range(len(numbered))]:
        return table
    header = ",".join(f"pixel{name}" if name.isdecimal() else name for name in names)
    return Plain(header, table.body, notes=(*table.notes, "its pixel columns are numbered but not named"))


def _without_index(table: Plain, path: Path) -> Plain:
    """Drop an unnamed first column that contains row numbers."""
    first, comma, header = table.header.partition(",")
    if first not in _INDEX_NAMES or not comma:
        return table
    parted = [line.partition(b",") for line in table.body.split(b"\n")[:-1]]
    cells = [cell for cell, _, _ in parted]
    if not any(cells == [b"%d" % row for row in range(start, start + len(cells))] for start in (0, 1)):
        raise InputError(
            f"{path}, header (line 1): the first column, {shown(first)}, is an index that does not count the "
            f"rows; expected pixel columns and 'label', so drop it: {_pandas(path, ', index_col=0', '')}"
        )
    body = b"".join(rest + b"\n" for _, _, rest in parted)
    return Plain(header, body, notes=(*table.notes, "its first column counts the rows and is ignored"))


def _without_one_hot(table: Plain, path: Path) -> Plain:
    """Replace trailing one-hot columns with a single column of class names."""
    names = table.header.split(",")
    pixels = sum(name.startswith("pixel") for name in names)
    classes = spell_classes(names[pixels:])
    known = len(classes) > 1 and set(classes) <= {*facts.CLASS_NAMES}
    if not known or len(set(classes)) < len(classes) or "label" in names:
        return table
    lines = []
    for row, line in enumerate(table.body.split(b"\n")[:-1]):
        *before, last = line.split(b",", pixels)
        truth = re.sub(rb"\.0*(?=,|$)", b"", last).split(b",")
        if (
            len(before) != pixels
            or len(truth) != len(classes)
            or sorted(truth) != [b"0"] * (len(truth) - 1) + [b"1"]
        ):
            raise InputError(
                f"{place(path, row)}: expected a single 1 among the columns {', '.join(names[pixels:])}, "
                "and 0 in the others, so fix the row"
            )
        lines.append(b",".join([*before, classes[truth.index(b"1")].encode()]) + b"\n")
    note = "its labels are one-hot columns, one for each class"
    return Plain(",".join([*names[:pixels], "label"]), b"".join(lines), notes=(*table.notes, note))


def _with_codes(table: Plain, path: Path) -> Plain:
    """Replace class names with codes; labels stay unchanged if any of them is a number."""
    names = table.header.split(",")
    if names.count("label") != 1:
        return table
    position = names.index("label")
    near_end = len(names) - 1 - position
    if min(position, near_end) > 1:
        return table
    if not _WORD.fullmatch(_parted(table.body.partition(b"\n")[0], position, near_end)[1]):
        return table
    parts = [_parted(line, position, near_end) for line in table.body.split(b"\n")[:-1]]
    cells = {cell for _, cell, _ in parts}
    if not all(map(_WORD.fullmatch, cells)):
        return table
    spelt = {cell: decode(cell, path).strip().removeprefix('"').removesuffix('"') for cell in cells}
    for row, (_, cell, _) in enumerate(parts):
        if not is_name(spelt[cell]) or spelt[cell].casefold() in _UNKNOWN:
            raise InputError(
                f"{place(path, row)}, column 'label': received {shown(spelt[cell])} among class names; "
                "expected a name in every row, so fix the cell or leave the row out"
            )
    words = dict(zip(spelt, spell_classes(spelt.values()), strict=True))
    class_names = in_code_order(set(words.values()))
    if len(class_names) < 2:
        raise InputError(f"{path}: all labels are {shown(class_names[0])}; expected at least two classes")
    codes = {cell: b"%d" % class_names.index(word) for cell, word in words.items()}
    body = b"".join(before + codes[cell] + after + b"\n" for before, cell, after in parts)
    return Plain(table.header, body, class_names, (*table.notes, *note_spellings(spelt.values())))


def _parted(line: bytes, position: int, near_end: int) -> tuple[bytes, bytes, bytes]:
    """Split a line around the cell of a column that is among the first two or last two columns."""
    if position <= near_end:
        cells = line.split(b",", position + 1)
        before, rest = cells[:position], cells[position:]
    else:
        cells = line.rsplit(b",", near_end + 1)
        before, rest = cells[:1], cells[1:]
    cell = rest[0] if rest else b""
    return b"".join(part + b"," for part in before), cell, b"".join(b"," + part for part in rest[1:])


def _with_whole_numbers(table: Plain, path: Path) -> Plain:
    """Convert float pixels to integers, multiplying values between 0 and 1 by 255."""
    names = table.header.split(",")
    pixels = np.array([name.startswith("pixel") for name in names])
    first = table.body.partition(b"\n")[0].split(b",")
    pointed = np.array([b"." in cell for cell in first])
    if len(first) != len(names) or not pixels.any() or pointed[pixels].mean() <= 0.5:
        return table
    lines = table.body.split(b"\n")[:-1]
    others: list[int] = np.flatnonzero(~pixels).tolist()
    values = np.empty((len(lines), int(pixels.sum())))
    rest = []
    for row, line in enumerate(lines):
        cells = line.split(b",")
        own = [cell for cell, is_pixel in zip(cells, pixels, strict=False) if is_pixel]
        if (
            len(cells) != len(names)
            or not _FLOAT_ROW.fullmatch(b",".join(own))
            or not all(b"." in c for c in own)
        ):
            return table
        values[row] = np.fromstring(b",".join(own).decode(), sep=",")
        rest.append({column: re.sub(rb"(?<=[0-9])\.0*$", b"", cells[column]) for column in others})
    levels, note = _levels(values, path)
    rows = []
    for kept, level in zip(rest, levels, strict=True):
        found = iter([_DECIMALS[value] for value in level])
        rows.append(b",".join(kept[c] if c in kept else next(found) for c in range(len(names))) + b"\n")
    return Plain(table.header, b"".join(rows), table.class_names, (*table.notes, note))


def _levels(values: npt.NDArray[np.float64], path: Path) -> tuple[npt.NDArray[np.uint8], str]:
    """Convert float pixels to levels from 0 to 255, and return a note on the conversion."""
    whole = np.rint(values)
    least, most = values.min(initial=0), values.max(initial=0)
    if least < 0 or most > 255:
        raise InputError(
            f"{path}: pixels are floats from {least:g} to {most:g}, which look standardised; "
            "expected grey levels from 0 to 255, so use the original table"
        )
    if (whole == values).all():
        if most > 1:
            return whole.astype(np.uint8), "its pixels are whole numbers written as floats"
        raise _no_levels(path, "all of them are 0 or 1, which is ambiguous", " * 255")
    if most > 1:
        raise _no_levels(path, f"they range up to {most:g} and are not all whole")
    scaled = np.rint(values * 255)
    if np.abs(values * 255 - scaled).max() > _OFF:
        raise _no_levels(path, "they range up to 1 and are not multiples of 1/255", " * 255")
    return scaled.astype(np.uint8), "its pixels range from 0 to 1 and were multiplied by 255"


def _no_levels(path: Path, why: str, scale: str = "") -> InputError:
    mend = f"p = t.filter(regex='^pixel').columns; t[p] = (t[p]{scale}).round().astype(int); "
    return InputError(
        f"{path}: pixels are floats, and {why}; expected whole numbers from 0 to 255, so convert "
        f"them: {_pandas(path, '', mend)}"
    )


def _pandas(path: Path, options: str, mend: str) -> str:
    """Return Python code that writes a corrected table next to the original."""
    stem = path.name.partition(".")[0]
    return (
        f"import pandas; t = pandas.read_csv({str(path)!r}{options}); {mend}"
        f"t.to_csv({f'{stem}_mended.csv'!r}, index=False)"
    )
