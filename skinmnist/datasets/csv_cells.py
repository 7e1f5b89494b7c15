"""The cells of a pixel table, read in two ways: fast where all is plain, carefully where anything is not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.csv_table import LABEL, Layout
from skinmnist.datasets.files import place
from skinmnist.errors import InputError
from skinmnist.text import shown

Cells = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

#: Bytes that are parsed at a time: the temporary arrays of one step stay in the processor's cache.
_STEP = 1 << 18
_ZERO, _COMMA, _LINE_END = b"0,\n"

_PLAIN_ROW = re.compile(rb"[0-9]{1,9}(?:,[0-9]{1,9})*")


def read_fast(body: bytes, layout: Layout) -> Cells | None:
    """Read the rows of a pixel table whose every cell is one to three digits and at most 255.

    Works on whole pieces of the text at once: all positions between digits are found, and the value before
    each is its last digit, plus ten times the one before, plus a hundred times the one before that.

    Parameters
    ----------
    body : bytes
        The rows, each ended by a line feed.
    layout : Layout

    Returns
    -------
    pixels : ndarray of shape (n, pixels), uint8
    labels : ndarray of shape (n,), int64
        Or None instead of both where anything at all is unusual: `read_carefully` then tells what.
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

    Parameters
    ----------
    body : bytes
        The rows, each ended by a line feed.
    layout : Layout
    path : Path
        The file, for errors.

    Raises
    ------
    InputError
        Names the file, the row and the column of the first cell that is no number in its range, or the first
        row that is blank, too short or too long.
    """
    label = 0 if layout.label_first else len(layout.columns) - 1
    lines = body.split(b"\n")[:-1]
    pixels = np.empty((len(lines), len(layout.columns) - 1), dtype=np.uint8)
    labels = np.empty(len(lines), dtype=np.int64)
    for row, line in enumerate(lines):
        cells = line.split(b",")
        _check_width(line, cells, layout, path, row)
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
    """Check that the label codes are 0..k-1, each on at least one row.

    Raises
    ------
    InputError
        Names the first row whose code lies beyond a code that no row has.
    """
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


def _check_width(line: bytes, cells: list[bytes], layout: Layout, path: Path, row: int) -> None:
    """Check that a row has as many cells as the header has columns."""
    width = len(layout.columns)
    if not line.strip():
        raise InputError(f"{place(path, row)} is blank; expected {width} cells, so drop the blank line")
    if len(cells) < width:
        raise InputError(
            f"{place(path, row)} ends before column {layout.columns[len(cells)]!r}, with {len(cells)} cells; "
            f"expected {width} as in the header, so complete the row"
        )
    if len(cells) > width:
        raise InputError(
            f"{place(path, row)} goes on behind column {layout.columns[-1]!r}, with {len(cells)} cells; "
            f"expected {width} as in the header, so drop what is too much"
        )


def _cell_error(cell: bytes, column: str, path: Path, row: int) -> InputError:
    """Return the error for a cell that is no number in its range."""
    received = shown(cell) if cell else "an empty cell"
    if not _is_utf8(cell):
        received += " (not UTF-8)"
    expected = "a class code from 0 up" if column == LABEL else "a whole number from 0 to 255"
    return InputError(
        f"{place(path, row)}, column {column!r}: received {received}; expected {expected}, in digits "
        f"without sign, point, space or quotes, so mend the cell"
    )


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
