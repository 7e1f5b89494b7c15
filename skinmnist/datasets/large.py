"""Pixel tables too large to be read at once: parsed piece by piece into the cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.cache import Keep, write_blocks
from skinmnist.datasets.csv_cells import Cells, read_fast
from skinmnist.datasets.csv_table import Layout, parse_header
from skinmnist.datasets.files import decode, without_mark

#: Bytes that are read together.
PIECE = 1 << 24


def keep_pieces(path: Path, shape: tuple[int, int, int] | None, keep: Keep) -> None:
    """Parse a plain table piece by piece and keep its pixels and labels.

    Parameters
    ----------
    path : Path
    shape : tuple of int or None
        ``(height, width, channels)``, where that is known.
    keep : callable
        See `skinmnist.datasets.cache.parse_once`. Labels are not kept where anything in the table is unusual:
        to tell what, the whole of it has to be read.

    Raises
    ------
    InputError
        Where the header is that of no pixel table.
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
        keep("pixels", write)
    except _UnusualError:
        return
    found = np.concatenate(labels)
    codes = np.unique(found)
    if np.array_equal(codes, np.arange(len(codes))):
        keep("labels", lambda stream: np.save(stream, found))


class _UnusualError(Exception):
    """A table is not plain throughout."""


def _pixels(cells: Cells | None, labels: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.uint8]:
    """Return the pixels of a piece, and put its labels aside."""
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
