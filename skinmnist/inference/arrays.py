"""Arrays in a model file: numpy's own ``.npy``, of plain numbers only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.inference.checks import UnreadableError

#: Of any of the types that a file can hold.
Array = npt.NDArray[Any]

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '(<f4|<f8|<i2|<i4|<i8|\|u1)', 'fortran_order': False, 'shape': \(([\d, ]*)\)"
)
_MOST_AXES = 4


def encode(values: Array) -> bytes:
    """Write an array as ``numpy.save`` does, little-endian and row by row.

    Raises
    ------
    ValueError
        Where its type is none of float32, float64, int16, int32, int64 and uint8.
    """
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    header = _header(plain.dtype.str, values.shape)
    if not _HEADER.match(header[len(_MAGIC) + 2 :]):
        raise ValueError(f"an array of {values.dtype} cannot be kept in a model file")
    return header + plain.tobytes()


def decode(content: bytes) -> Array:
    """Read what `encode` has written; the array is a read-only view of the content.

    Raises
    ------
    UnreadableError
        For anything else.
    """
    match = _HEADER.match(content, len(_MAGIC) + 2)
    if match is None:
        raise UnreadableError("one of its arrays is none that skinmnist writes")
    dtype = np.dtype(match[1].decode())
    lengths = match[2].decode().replace(" ", "").strip(",").split(",") if match[2] else []
    if len(lengths) > _MOST_AXES or not all(length.isdigit() and len(length) < 10 for length in lengths):
        raise UnreadableError("one of its arrays has a wild shape")
    shape = tuple(int(length) for length in lengths)
    header = _header(dtype.str, shape)
    size = dtype.itemsize
    for length in shape:
        size *= length
    if not content.startswith(header) or len(content) - len(header) != size:
        raise UnreadableError("one of its arrays is longer or shorter than its shape")
    return np.frombuffer(content, dtype, offset=len(header)).reshape(shape)


class Arrays:
    """The arrays of a model file, each of which is asked for once, with the shape that it must have.

    Parameters
    ----------
    members : mapping of str to ndarray
    """

    def __init__(self, members: Mapping[str, Array]) -> None:
        self._left = dict(members)

    def floats(self, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[np.floating]:
        """Take an array of finite numbers; a length of None is free, but at least 1."""
        values = self._take(name, shape, "f")
        if not np.isfinite(values).all():
            raise UnreadableError(f"its {name} is not finite")
        return values

    def integers(self, name: str, shape: tuple[int | None, ...], low: int, high: int) -> npt.NDArray[np.intp]:
        """Take an array of whole numbers between two limits, both included."""
        values = self._take(name, shape, "iu")
        if values.min() < low or values.max() > high:
            raise UnreadableError(f"its {name} reaches beyond what it can be")
        return values.astype(np.intp)

    def beginning(self, prefix: str) -> dict[str, Array]:
        """Take all arrays whose name begins so, by the rest of their names."""
        names = [name for name in self._left if name.startswith(prefix)]
        return {name.removeprefix(prefix): self._left.pop(name) for name in names}

    def check_empty(self) -> None:
        """Check that nothing was left over."""
        if self._left:
            raise UnreadableError(f"it holds {min(self._left)}, which its manifest does not use")

    def _take(self, name: str, shape: tuple[int | None, ...], kinds: str) -> Array:
        values = self._left.pop(name, None)
        if values is None:
            raise UnreadableError(f"it has no {name}")
        fits = len(values.shape) == len(shape) and all(
            found > 0 and wanted in (None, found) for found, wanted in zip(values.shape, shape, strict=True)
        )
        if not fits or values.dtype.kind not in kinds:
            raise UnreadableError(f"its {name} has the shape {values.shape} and the type {values.dtype}")
        return values


def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Write the header of format version 1.0: padded so that the numbers begin at a multiple of 64."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    padding = -(len(_MAGIC) + 2 + len(text) + 1) % 64
    text += b" " * padding + b"\n"
    return _MAGIC + len(text).to_bytes(2, "little") + text
