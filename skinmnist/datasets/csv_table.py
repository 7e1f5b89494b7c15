"""A pixel table as CSV: its header, its cells, and tables too large to be read at once.

Cells are read in two ways: fast where all is plain, carefully where anything is not.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.cache import Store
from skinmnist.datasets.classes_file import about_file
from skinmnist.datasets.files import decode, place, without_mark
from skinmnist.datasets.mapped import write_blocks
from skinmnist.errors import InputError
from skinmnist.text import shown

LABEL = "label"

Cells = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
#: Bytes that are parsed at a time: the temporary arrays of one step stay in the processor's cache.
_STEP = 1 << 18
_ZERO, _COMMA, _LINE_END = b"0,\n"
_PLAIN_ROW = re.compile(rb"[0-9]{1,9}(?:,[0-9]{1,9})*")
#: Bytes that are read together.
PIECE = 1 << 24


@dataclass(frozen=True)
class Layout:
    """The columns of a pixel table."""

    columns: tuple[str, ...]  # Names in file order
    label_first: bool  # Whether the label stands before the pixels; else it stands behind them


def parse_header(line: str, path: Path, shape: tuple[int, int, int] | None = None) -> Layout:
    """Read the header of a pixel table.

    Pixel columns are named ``pixel0000``, ``pixel0001``, ... or ``pixel0``, ``pixel1``, ... or ``pixel1``,
    ``pixel2``, ... and stand in order; ``label`` stands before or after them.
    """
    columns = tuple(line.split(","))
    doubled = next((name for name, count in Counter(columns).items() if count > 1), None)
    if doubled is not None:
        positions = [str(position) for position, name in enumerate(columns, 1) if name == doubled]
        raise InputError(
            f"{path}, header (line 1): the column {shown(doubled)} stands {len(positions)} times, as columns "
            f"{', '.join(positions[:5])}; expected every column once, so drop or rename the copies"
        )
    if LABEL not in columns:
        raise InputError(
            f"{path}, header (line 1): none of the {len(columns)} columns is {LABEL!r} (the first is "
            f"{shown(columns[0])}); expected pixel columns and {LABEL!r}, with commas between and no "
            f"quotes, so fix the header"
        )
    position = columns.index(LABEL)
    if position not in (0, len(columns) - 1):
        raise InputError(
            f"{path}, header (line 1): {LABEL!r} is column {position + 1} of {len(columns)}; expected it "
            f"before or after all pixels, so move it there"
        )
    label_first = position == 0
    pixels = columns[1:] if label_first else columns[:-1]
    _check_names(pixels, 2 if label_first else 1, path)
    picture_shape(len(pixels), path, shape)
    return Layout(columns, label_first)


def picture_shape(
    n_pixels: int, path: Path, shape: tuple[int, int, int] | None = None
) -> tuple[int, int, int]:
    """Return (height, width, channels): the known `shape`, else that of the square with so many values.

    No number of columns fits both a square in RGB and one in grey.
    """
    if shape is not None:
        height, width, channels = shape
        if height * width * channels != n_pixels:
            raise InputError(
                f"{path}, header (line 1): {n_pixels} pixel columns where {about_file(path).name} says "
                f"{height} x {width} x {channels}; expected {height * width * channels}, so fix that file, "
                "or move it away if it is of another table"
            )
        return shape
    for channels in (3, 1):
        side = math.isqrt(n_pixels // channels)
        if side and side * side * channels == n_pixels:
            return side, side, channels
    raise InputError(
        f"{path}, header (line 1): {n_pixels} pixel columns make no square picture; expected side x side x 3 "
        f"(RGB) or side x side (grey), such as 2352 or 784 for 28 x 28, so add the columns that are missing"
    )


def _check_names(pixels: tuple[str, ...], first_position: int, path: Path) -> None:
    """Check that the pixel columns are numbered in order, in the way in which the first one is."""
    first = re.fullmatch("pixel(0*[01])", pixels[0]) if pixels else None
    # Padded numbers count from 0: from pixel0001 on, the first column has been dropped.
    start, width = (int(first[1] == "1"), len(first[1])) if first else (0, 1)
    for index, received in enumerate(pixels):
        expected = f"pixel{start + index:0{width}d}"
        if received != expected:
            raise InputError(
                f"{path}, header (line 1): column {first_position + index} is {shown(received)} where "
                f"{expected!r} was expected; write the pixel columns in order, without gaps, and no other "
                f"column but {LABEL!r}"
            )


def read_fast(body: bytes, layout: Layout) -> Cells | None:
    """Read the rows of a pixel table whose every cell is one to three digits and at most 255.

    Works on whole pieces of the text at once: all positions between digits are found, and the value before
    each is its last digit, plus ten times the one before, plus a hundred times the one before that.
    """
    width = len(layout.columns)
    row_ends = np.full(width, _COMMA, dtype=np.uint8)
    row_ends[-1] = _LINE_END
    text = np.frombuffer(body, dtype=np.uint8)
    values = np.empty((body.count(b"\n"), width), dtype=np.uint8)
    row = start = 0
    while start < len(text):
        stop = body.find(b"\n", min(start + _STEP, len(text) - 1)) + 1
        piece = text[start:stop]
        digits = piece - np.uint8(_ZERO)  # what stands before "0" wraps to more than 9
        ends = np.flatnonzero(digits > 9)
        if len(ends) % width or (piece[ends].reshape(-1, width) != row_ends).any():
            return None
        lengths = np.diff(ends, prepend=-1) - 1
        if lengths.min() < 1 or lengths.max() > 3:
            return None
        # The first cell of a piece may look up to two places before it; those digits are masked.
        numbers = digits[ends - 1].astype(np.uint16)
        numbers += np.uint16(10) * np.where(lengths > 1, digits[ends - 2], np.uint8(0))
        numbers += np.uint16(100) * np.where(lengths > 2, digits[ends - 3], np.uint8(0))
        if numbers.max() > 255:
            return None
        n_rows = len(ends) // width
        values[row : row + n_rows] = numbers.reshape(n_rows, width)
        row, start = row + n_rows, stop
    return _split(values, layout)


def read_carefully(body: bytes, layout: Layout, path: Path) -> Cells:
    """Read the rows of a pixel table cell by cell, and name the first fault.

    It reads all that `read_fast` reads, to the same arrays, and besides numbers with more leading zeros and
    label codes above 255; quoted numbers are refused.
    """
    label = 0 if layout.label_first else len(layout.columns) - 1
    lines = body.split(b"\n")[:-1]
    pixels = np.empty((len(lines), len(layout.columns) - 1), dtype=np.uint8)
    labels = np.empty(len(lines), dtype=np.int64)
    for row, line in enumerate(lines):
        cells = line.split(b",")
        check_width(len(cells) if line.strip() else 0, layout.columns, place(path, row))
        if not _PLAIN_ROW.fullmatch(line):
            column = next(index for index, cell in enumerate(cells) if not _PLAIN_ROW.fullmatch(cell))
            raise _cell_error(cells[column], layout.columns[column], path, row)
        numbers = [int(cell) for cell in cells]
        labels[row] = numbers.pop(label)
        if max(numbers) > 255:
            column = next(index for index, cell in enumerate(cells) if index != label and int(cell) > 255)
            raise _cell_error(cells[column], layout.columns[column], path, row)
        pixels[row] = numbers
    return pixels, labels


def check_codes(labels: npt.NDArray[np.int64], path: Path) -> None:
    """Check that the label codes are 0..k-1, each on at least one row."""
    codes = np.unique(labels)
    gaps = np.flatnonzero(codes != np.arange(len(codes)))
    if len(gaps):
        missing = int(gaps[0])
        row = int(np.argmax(labels > missing))
        raise InputError(
            f"{place(path, row)}, column {LABEL!r}: received the code {labels[row]} where no row has the "
            f"code {missing}; expected the codes 0 to k-1 of k classes, so number the classes without a gap"
        )


def _split(values: npt.NDArray[np.uint8], layout: Layout) -> Cells:
    """Part whole rows into pixels and labels."""
    if layout.label_first:
        pixels, labels = values[:, 1:], values[:, 0]
    else:
        pixels, labels = values[:, :-1], values[:, -1]
    return np.ascontiguousarray(pixels), labels.astype(np.int64)


def check_width(n_cells: int, columns: Sequence[str], where: str) -> None:
    """Check that a row of a CSV has as many cells as its header has columns; 0 cells: a blank line."""
    width = len(columns)
    if not n_cells:
        raise InputError(f"{where} is blank; expected {width} cells, so drop the blank line")
    if n_cells < width:
        raise InputError(
            f"{where} ends before column {shown(columns[n_cells])}, with {n_cells} cells; expected {width} "
            "as in the header, so complete the row"
        )
    if n_cells > width:
        raise InputError(
            f"{where} goes on after column {shown(columns[-1])}, with {n_cells} cells; expected {width} "
            "as in the header, so drop the rest"
        )


def _cell_error(cell: bytes, column: str, path: Path, row: int) -> InputError:
    """Return the error for a cell that is no number in its range."""
    received = shown(cell) if cell else "an empty cell"
    if not _is_utf8(cell):
        received += " (not UTF-8)"
    expected = "a class code from 0 up" if column == LABEL else "a whole number from 0 to 255"
    return InputError(
        f"{place(path, row)}, column {column!r}: received {received}; expected {expected}, in digits "
        f"without sign, point, space or quotes, so fix the cell"
    )


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def parse_pieces(path: Path, shape: tuple[int, int, int] | None, store: Store) -> None:
    """Parse a plain table piece by piece and store its pixels and labels.

    Labels are not stored where anything is unusual: only the parser of the whole content can name it.
    """
    rows = _count_rows(path)
    with path.open("rb") as file:
        layout = parse_header(decode(without_mark(file.readline()).rstrip(b"\r\n"), path), path, shape)
    labels: list[npt.NDArray[np.int64]] = []

    def write(stream: BinaryIO) -> None:
        parts = (_pixels(cells, labels) for cells in _read_pieces(path, layout))
        write_blocks(stream, (rows, len(layout.columns) - 1), parts)
        if sum(map(len, labels)) != rows:
            raise _UnusualError

    try:
        store("pixels", write)
    except _UnusualError:
        return
    found = np.concatenate(labels)
    codes = np.unique(found)
    if np.array_equal(codes, np.arange(len(codes))):
        store("labels", lambda stream: np.save(stream, found))


class _UnusualError(Exception):
    """A table is not plain throughout."""


def _pixels(cells: Cells | None, labels: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.uint8]:
    """Return the pixels of a piece, and append its labels to `labels`."""
    if cells is None:
        raise _UnusualError
    labels.append(cells[1])
    return cells[0]


def _read_pieces(path: Path, layout: Layout) -> Iterator[Cells | None]:
    """Yield what `read_fast` makes of the rows, some whole rows at a time."""
    with path.open("rb") as file:
        file.readline()
        while piece := file.read(PIECE):
            piece += file.readline()
            if b"\r" in piece:
                piece = piece.replace(b"\r\n", b"\n")
            yield read_fast(piece if piece.endswith(b"\n") else piece + b"\n", layout)


def _count_rows(path: Path) -> int:
    """Count the lines under the header; the last one may have no end."""
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            lines += piece.count(b"\n")
            last = piece
    return lines - 1 + (not last.endswith(b"\n"))
