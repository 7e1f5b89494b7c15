"""Parse pixel tables in CSV format, including tables too large to read at once.

`read_fast` parses plain tables, and `read_carefully` parses all other tables.
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
from skinmnist.datasets.classes_file import Stated
from skinmnist.datasets.files import decode, place, without_mark
from skinmnist.datasets.mapped import write_blocks
from skinmnist.errors import InputError
from skinmnist.text import LONGEST_NAME, is_name, shown

LABEL, IMAGE_ID = "label", "image_id"

Shape = tuple[int, int, int]
Cells = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
#: Number of bytes parsed at a time; small enough for temporary arrays to fit in the processor's cache.
_STEP = 1 << 18
_ZERO, _COMMA, _LINE_END = b"0,\n"
_PLAIN_ROW = re.compile(rb"[0-9]{1,9}(?:,[0-9]{1,9})*")
#: Number of bytes read at a time.
PIECE = 1 << 24
#: Picture shapes in the Kaggle collection; 784 columns are never interpreted as 14 x 14 with four channels.
COLLECTION_SHAPES = ((8, 8, 3), (8, 8, 1), (28, 28, 3), (28, 28, 1))
#: Height of the original HAM10000 pictures (450 x 600), which can be downscaled by whole factors, for example
#: to 75 x 100; and, by number of channels, the minimum height considered for pictures of this aspect ratio
#: and for square pictures with four channels. Smaller pictures show too little detail to be useful.
_FULL_HEIGHT, _LEAST_HEIGHTS = 450, {3: 8, 1: 45, 4: 8}


@dataclass(frozen=True)
class Layout:
    """The column layout of a pixel table."""

    columns: tuple[str, ...]  # Column names in file order, without ``image_id``
    label_first: bool  # Whether the label column precedes the pixels
    id_column: int | None = None  # Position of ``image_id`` among all columns
    shape: Shape | None = None  # Picture shape derived from the column names


def parse_header(line: str, path: Path, stated: Stated | None = None) -> Layout:
    """Parse the header of a pixel table.

    Pixel columns must be in order and named ``pixel0000``, ``pixel0001``, ...; ``pixel0``, ``pixel1``, ...;
    ``pixel1``, ``pixel2``, ...; or by row, column and channel, as in ``pixel_0_0_0``. ``label`` and the
    optional ``image_id`` come before or after the pixels.
    """
    columns = tuple(line.split(","))
    doubled = next((name for name, count in Counter(columns).items() if count > 1), None)
    if doubled is not None:
        positions = [str(position) for position, name in enumerate(columns, 1) if name == doubled]
        raise InputError(
            f"{path}, header (line 1): the column {shown(doubled)} appears {len(positions)} times, as "
            f"columns {', '.join(positions[:5])}; expected every column once, so drop or rename the copies"
        )
    if LABEL not in columns:
        if {"lesion_id", "dx"} <= set(columns):
            raise InputError(
                f"{path} is metadata and holds no pixels; name the pixel table instead, and pass this file "
                "to --metadata"
            )
        raise InputError(
            f"{path}, header (line 1): none of the {len(columns)} columns is {LABEL!r} (the first is "
            f"{shown(columns[0])}); expected pixel columns and {LABEL!r}, separated by commas and without "
            f"quotes, so fix the header"
        )
    all_columns, id_column = columns, columns.index(IMAGE_ID) if IMAGE_ID in columns else None
    if id_column is not None:
        first, last = columns[0] == LABEL, len(columns) - 1 - (columns[-1] == LABEL)
        if id_column not in (0, int(first), last, len(columns) - 1):
            raise InputError(
                f"{path}, header (line 1): {IMAGE_ID!r} is column {id_column + 1} of {len(columns)}; "
                "expected it before or after all pixels, so move it there"
            )
        columns = columns[:id_column] + columns[id_column + 1 :]
    position = columns.index(LABEL)
    if position not in (0, len(columns) - 1):
        raise InputError(
            f"{path}, header (line 1): {LABEL!r} is column {position + 1} of {len(columns)}; expected it "
            f"before or after all pixels, so move it there"
        )
    label_first = position == 0
    pixels = columns[1:] if label_first else columns[:-1]
    shape = _named_shape(pixels)
    _check_names(pixels, shape, all_columns.index(pixels[0]) + 1 if pixels else 1, path)
    picture_shape(len(pixels), path, stated, shape)
    return Layout(columns, label_first, id_column, shape)


def picture_shape(
    n_pixels: int, path: Path, stated: Stated | None = None, named: Shape | None = None
) -> Shape:
    """Return (height, width, channels) as stated, from the column names, or as the only possible shape.

    Raises
    ------
    InputError
        If the number of columns matches no picture shape, or more than one.
    """
    where = f"{path}, header (line 1): {n_pixels} pixel columns"
    if stated is not None and stated.shape is not None:
        return _checked_shape(n_pixels, stated.shape, stated.shape_by, where)
    if named is not None:
        return named
    fitting = [shape for shape in COLLECTION_SHAPES if math.prod(shape) == n_pixels]
    fitting = fitting or _fitting_shapes(n_pixels)
    if not fitting:
        raise InputError(
            f"{where} make no square picture; expected side x side x 3 (RGB) or side x side (grey), such as "
            "2352 or 784 for 28 x 28, so add the missing columns, or give the size of the pictures "
            "with --size HEIGHTxWIDTH"
        )
    if len(fitting) > 1:
        kinds = {1: "grey", 3: "RGB", 4: "RGBA, to be converted to RGB first"}
        named_shapes = " or ".join(f"{h} x {w} x {c} ({kinds[c]})" for h, w, c in fitting)
        options = " or ".join(f"--size {h}x{w}x{c}" for h, w, c in fitting if c != 4)
        raise InputError(f"{where} fit {named_shapes}; choose one with {options}")
    return fitting[0]


def _checked_shape(n_pixels: int, shape: Shape, by: str, where: str) -> Shape:
    """Return a stated shape, including its channels, after checking it against the number of columns."""
    height, width, channels = shape
    channels = channels or (3 if n_pixels == 3 * height * width else 1)
    if height * width * channels == n_pixels:
        return height, width, channels
    fix = (
        "give the size of these pictures"
        if by == "--size"
        else "fix that file, or move it away if it belongs to another table"
    )
    counts = f"{height * width * 3} or {height * width}" if not shape[2] else f"{height * width * channels}"
    raise InputError(
        f"{where}, but {by} says {' x '.join(map(str, filter(None, shape)))}; expected {counts}, so {fix}"
    )


def _fitting_shapes(n_pixels: int) -> list[Shape]:
    """List the picture shapes that match a number of columns, most likely first."""
    squares = [(math.isqrt(n_pixels // channels), channels) for channels in (3, 1, 4)]
    heights = [(math.isqrt(n_pixels // channels * 3 // 4), channels) for channels in (3, 1)]
    found = [(side, side, channels) for side, channels in squares if side and channels != 4]
    found += [
        (height, height * 4 // 3, channels)
        for height, channels in heights
        if height >= _LEAST_HEIGHTS[channels] and _FULL_HEIGHT % height == 0
    ]
    found += [(side, side, 4) for side, channels in squares if channels == 4 and side >= _LEAST_HEIGHTS[4]]
    fitting = [shape for shape in found if math.prod(shape) == n_pixels]
    colour = [shape for shape in fitting if shape[2] == 3]
    return [shape for shape in fitting if shape[2] != 4 or not colour]


def _named_shape(pixels: tuple[str, ...]) -> Shape | None:
    """Return the shape implied by column names with row, column and channel; the names are not validated."""
    last = re.fullmatch(r"pixel_([0-9]{1,4})_([0-9]{1,4})(?:_([02]|b))?", pixels[-1]) if pixels else None
    if last is None:
        return None
    shape = int(last[1]) + 1, int(last[2]) + 1, 3 if last[3] in ("2", "b") else 1
    return shape if math.prod(shape) == len(pixels) else None


def _check_names(pixels: tuple[str, ...], shape: Shape | None, first_position: int, path: Path) -> None:
    """Check that pixel columns are numbered consecutively in the style of the first column."""
    first = re.fullmatch("pixel(0*[01])", pixels[0]) if pixels else None
    # Zero-padded numbers start at 0; a table that starts at pixel0001 lacks its first column.
    start, width = (int(first[1] == "1"), len(first[1])) if first else (0, 1)
    depth = len(re.findall("_", pixels[-1])) if shape else 0
    channels = ("r", "g", "b") if shape and pixels[-1].endswith("b") else ("0", "1", "2")
    for index, received in enumerate(pixels):
        expected = f"pixel{start + index:0{width}d}"
        if shape is not None:
            row, column, channel = np.unravel_index(index, shape)
            parts = (str(row), str(column), channels[int(channel)])[:depth]
            expected = f"pixel_{'_'.join(parts)}"
        if received != expected:
            raise InputError(
                f"{path}, header (line 1): column {first_position + index} is {shown(received)}, but "
                f"{expected!r} was expected; write the pixel columns in order, without gaps, and no other "
                f"column but {LABEL!r}"
            )


def read_fast(body: bytes, layout: Layout) -> Cells | None:
    """Parse a table whose cells all have one to three digits and are at most 255; otherwise return None.

    The parser is vectorised over large chunks of text. It finds all separators, then computes each value from
    the digits before its separator: ones, tens and hundreds.
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
        digits = piece - np.uint8(_ZERO)  # Characters below "0" wrap around to values above 9.
        ends = np.flatnonzero(digits > 9)
        if len(ends) % width or (piece[ends].reshape(-1, width) != row_ends).any():
            return None
        lengths = np.diff(ends, prepend=-1) - 1
        if lengths.min() < 1 or lengths.max() > 3:
            return None
        # The first cell of a chunk may read up to two digits before the chunk; these are masked.
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
    """Parse a pixel table cell by cell and report the first invalid cell.

    The result equals that of `read_fast` whenever `read_fast` succeeds. This parser also accepts extra
    leading zeros and label codes above 255, and rejects quoted numbers.
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
    """Check that the label codes are 0 to k - 1 and that each of them occurs."""
    codes = np.unique(labels)
    gaps = np.flatnonzero(codes != np.arange(len(codes)))
    if len(gaps):
        missing = int(gaps[0])
        row = int(np.argmax(labels > missing))
        raise InputError(
            f"{place(path, row)}, column {LABEL!r}: received the code {labels[row]}, but no row has the "
            f"code {missing}; expected the codes 0 to k-1 of k classes, so number the classes without a gap"
        )


def _split(values: npt.NDArray[np.uint8], layout: Layout) -> Cells:
    """Split complete rows into pixels and labels."""
    if layout.label_first:
        pixels, labels = values[:, 1:], values[:, 0]
    else:
        pixels, labels = values[:, :-1], values[:, -1]
    return np.ascontiguousarray(pixels), labels.astype(np.int64)


def check_width(n_cells: int, columns: Sequence[str], where: str) -> None:
    """Check that a CSV row has as many cells as the header has columns; a blank line has 0 cells."""
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
            f"{where} continues after column {shown(columns[-1])}, with {n_cells} cells; expected {width} "
            "as in the header, so drop the extra cells"
        )


def _cell_error(cell: bytes, column: str, path: Path, row: int) -> InputError:
    """Return the error for a cell that is not a number in the valid range."""
    received = shown(cell) if cell else "an empty cell"
    if not _is_utf8(cell):
        received += " (not UTF-8)"
    expected = "a class code of 0 or more" if column == LABEL else "a whole number from 0 to 255"
    return InputError(
        f"{place(path, row)}, column {column!r}: received {received}; expected {expected}, as digits "
        f"without a sign, point, space or quotes, so fix the cell"
    )


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def split_ids(body: bytes, layout: Layout, path: Path) -> tuple[bytes, npt.NDArray[np.str_]]:
    """Separate the ``image_id`` column from the rows; without such a column, return an empty array of ids."""
    if layout.id_column is None:
        return body, np.array([], dtype=np.str_)
    columns = (*layout.columns[: layout.id_column], IMAGE_ID, *layout.columns[layout.id_column :])
    near_end = layout.id_column - len(columns)
    ids, lines = [], []
    for row, line in enumerate(body.split(b"\n")[:-1]):
        check_width(line.count(b",") + 1 if line.strip() else 0, columns, place(path, row))
        if layout.id_column < 2:
            cells, position = line.split(b",", layout.id_column + 1), layout.id_column
        else:
            cells, position = line.rsplit(b",", -near_end), near_end
        ids.append(_image_id(cells.pop(position), path, row))
        lines.append(b",".join(cells))
    return b"\n".join([*lines, b""]), np.array(ids)


def _image_id(cell: bytes, path: Path, row: int) -> str:
    text = cell.decode("utf-8", "backslashreplace")
    if not is_name(text) or b"\\" in cell or not _is_utf8(cell):
        raise InputError(
            f"{place(path, row)}, column {IMAGE_ID!r}: received {shown(text)}; expected a name of at most "
            f"{LONGEST_NAME} printable characters, so fix the cell"
        )
    return text.strip()


def parse_pieces(path: Path, stated: Stated | None, store: Store) -> None:
    """Parse a plain table in chunks and store its arrays.

    Labels are not stored if the table is not plain; the parser for whole files then reports the reason.
    """
    rows = _count_rows(path)
    with path.open("rb") as file:
        try:
            layout = parse_header(decode(without_mark(file.readline()).rstrip(b"\r\n"), path), path, stated)
        except InputError:  # The header is invalid or in another dialect.
            return
    if layout.id_column is not None:
        return
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
        for name in ("image_ids", "label_names", "dialect"):
            store(name, lambda stream: np.save(stream, np.array([], dtype=np.str_)))
        store("named_shape", lambda stream: np.save(stream, np.array(layout.shape or (), dtype=np.int64)))


class _UnusualError(Exception):
    """Raised if any row of a table is not plain."""


def _pixels(cells: Cells | None, labels: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.uint8]:
    """Return the pixels of a chunk and append its labels to `labels`."""
    if cells is None:
        raise _UnusualError
    labels.append(cells[1])
    return cells[0]


def _read_pieces(path: Path, layout: Layout) -> Iterator[Cells | None]:
    """Yield the cells of complete rows, one chunk at a time, as returned by `read_fast`."""
    with path.open("rb") as file:
        file.readline()
        while piece := file.read(PIECE):
            piece += file.readline()
            if b"\r" in piece:
                piece = piece.replace(b"\r\n", b"\n")
            yield read_fast(piece if piece.endswith(b"\n") else piece + b"\n", layout)


def _count_rows(path: Path) -> int:
    """Count the lines below the header; the last line may lack a newline."""
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            lines += piece.count(b"\n")
            last = piece
    return lines - 1 + (not last.endswith(b"\n"))
