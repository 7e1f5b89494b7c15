"""Tables that may not fit into memory: rows stay in a memory-mapped file until they are needed.

This module defines the limits above which tables and files count as large, and returns freed memory to the
operating system.
"""

from __future__ import annotations

import ctypes
import mmap
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.files import open_plain
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError

#: Number of pixel bytes and of rows above which a table counts as large and is read in chunks. HAM10000 has
#: 24 million bytes at 28 x 28.
LARGE_BYTES, LARGE_ROWS = 1 << 28, 200_000
#: Size in bytes above which a file is parsed in chunks. The 28 x 28 table of HAM10000 has 92 MB.
LARGE_FILE = 1 << 29


class MappedRows:
    """Selected rows of a matrix, usually a memory map, that are read lazily.

    Indexing and reshaping do not read any data. ``np.asarray`` reads the rows and then releases the pages of
    the mapped file; memory use therefore depends on the arrays kept, not on the amount of data read.
    """

    def __init__(
        self,
        source: npt.NDArray[Any],
        rows: npt.NDArray[np.integer],
        row_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.source = source
        self.rows = rows
        self.row_shape = source.shape[1:] if row_shape is None else row_shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that would be read."""
        return (len(self.rows), *self.row_shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array that would be read."""
        return self.source.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice | npt.NDArray[Any]) -> MappedRows:
        return MappedRows(self.source, self.rows[which], self.row_shape)

    def reshape(self, n: int, *row_shape: int) -> MappedRows:
        """Return the same rows; each is reshaped when it is read."""
        return MappedRows(self.source, self.rows, row_shape)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        found = np.asarray(self.source[self.rows], dtype=dtype).reshape(self.shape)
        give_back(self.source)
        return found


def is_large(table: PixelTable) -> bool:
    """Return whether copies of all rows or their features may not fit into memory."""
    return is_large_matrix(table.pixels.nbytes) or len(table) > LARGE_ROWS


def is_large_matrix(nbytes: int) -> bool:
    """Return whether pixels should stay in a memory-mapped file."""
    return nbytes > LARGE_BYTES


def is_large_file(nbytes: int) -> bool:
    """Return whether a file should be parsed in chunks."""
    return nbytes > LARGE_FILE


def give_back(array: npt.NDArray[Any]) -> None:
    """Release the memory of a read-only mapped file; rows are read again when needed."""
    base: Any = array
    mode = None
    while isinstance(base, np.ndarray):
        mode, base = getattr(base, "mode", mode), base.base
    # For private maps, including read-only maps, this would discard earlier writes.
    if isinstance(base, mmap.mmap) and mode == "r" and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)


def row_blocks(n: int, size: int) -> Iterator[slice]:
    """Split n rows into blocks of the given size; the last may be smaller."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def write_blocks(stream: BinaryIO, shape: tuple[int, int], blocks: Iterable[npt.NDArray[np.uint8]]) -> None:
    """Write a uint8 matrix as ``.npy`` without loading all of it into memory."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for block in blocks:
        stream.write(np.ascontiguousarray(block).data)


def pass_table(table: PixelTable, path: Path) -> None:
    """Write a table to a file from which worker processes on this machine open it with `open_passed`.

    Pixels that are already mapped from a complete file are not copied; workers map the same file.
    """
    import joblib

    columns = {field.name: getattr(table, field.name) for field in fields(table)}
    pixels = table.pixels
    # A modified private map or a view of a map differs from the contents of the file.
    whole = isinstance(pixels.base, mmap.mmap) and pixels.flags.c_contiguous
    if whole and isinstance(pixels, np.memmap) and pixels.mode == "r":
        columns["pixels"] = _Place(
            str(Path(str(pixels.filename)).resolve()), pixels.offset, pixels.shape, _sum(pixels)
        )
    joblib.dump(columns, path)


def open_passed(path: str | Path) -> PixelTable:
    """Open a table written by `pass_table` as memory maps; raise an error if its pixels have changed."""
    import joblib

    columns = joblib.load(path, mmap_mode="r")
    place = columns["pixels"]
    if isinstance(place, _Place):
        try:
            with open(place.file, "rb", opener=open_plain) as stream:
                columns["pixels"] = np.memmap(stream, np.uint8, "r", place.offset, place.shape)
            same = _sum(columns["pixels"]) == place.sum
        except (OSError, ValueError):
            same = False
        if not same:
            raise InputError(f"{place.file} changed during the run; run the same command again")
    return PixelTable(**columns)


def _sum(pixels: npt.NDArray[np.uint8]) -> int:
    found = zlib.crc32(pixels.data)
    give_back(pixels)
    return found


class _Place(NamedTuple):
    file: str
    offset: int
    shape: tuple[int, ...]
    sum: int


def trim_memory() -> None:
    """Return freed memory to the operating system if the C library supports it; glibc keeps it by default."""
    with suppress(AttributeError, OSError, TypeError):  # Windows does not have this library.
        ctypes.CDLL(None).malloc_trim(0)
