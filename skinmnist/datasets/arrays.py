"""Arrays in ZIP files (``.npz``), read as if they had been damaged, or written by somebody else, since."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.files import read_foreign
from skinmnist.text import one_line, printable

Array = npt.NDArray[Any]

#: Bytes that the arrays of one file may take: those of a few million rows.
MOST_BYTES = 2**30
MOST_MEMBERS = 256
#: Characters that an error quotes of a library's message, which may repeat long names out of the file.
_QUOTED = 150
#: What every entry of a ZIP's directory begins with.
_ENTRY = b"PK\x01\x02"


def encode_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Return an ``.npz``: equal arrays make equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def encode_array(array: Array) -> bytes:
    """Return a ``.npy``."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of an ``.npz`` file; OSError where it cannot be read, else as `decode_arrays`."""
    return decode_arrays(read_foreign(path, MOST_BYTES))


def decode_arrays(content: bytes) -> dict[str, Array]:
    """Return the arrays of an ``.npz``, by name; ValueError where it is none, damaged, or too large."""
    members = decode_members(content)
    return {name.removesuffix(".npy"): decode_array(member, name) for name, member in members.items()}


def decode_members(content: bytes, most: int = MOST_BYTES) -> dict[str, bytes]:
    """Return the members of a ZIP, by name; they may take `most` bytes together.

    `content` is that of the whole file: of a damaged one, its readers would leave the handle open.
    """
    try:
        if content.count(_ENTRY) > MOST_MEMBERS:
            raise ValueError(f"it has more than {MOST_MEMBERS} members")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Zeros are packed a thousandfold.
            size = sum(member.file_size for member in archive.infolist())
            if size > most:
                raise ValueError(f"its members take {size:,} bytes, expected at most {most:,}")
            return {member.filename: archive.read(member) for member in archive.infolist()}
    except Exception as error:
        # Damaged archives make zipfile raise all kinds of errors: BadZipFile, zlib.error, EOFError,
        # NotImplementedError for a method of compression, RuntimeError for a password ...
        raise _refusal(error) from None


def decode_array(content: bytes, name: str) -> Array:
    """Return the array of a ``.npy``; ValueError, which names it, where it is none or damaged."""
    stream = io.BytesIO(content)
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:
        raise ValueError(f"{ascii(name)[:60]} is not an array ({_refusal(error)})") from None
    if stream.read(1):
        raise ValueError(f"{ascii(name)[:60]} is longer than its array")
    return array


def take_array(arrays: Mapping[str, Array], name: str, kinds: str, shape: tuple[int | None, ...]) -> Array:
    """Return an array of one of numpy's kinds, such as ``"iu"``, and of a shape; ValueError for another.

    A length of None in the shape is any length.
    """
    if name not in arrays:
        raise ValueError(f"the array {name} is missing")
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in kinds or not fits:
        wanted = " x ".join("any" if length is None else str(length) for length in shape)
        received = f"{array.dtype.name[:40]} of {' x '.join(map(str, array.shape)) or 'no length'}"
        raise ValueError(f"the array {name} is {received}, expected {wanted} of kind {kinds}")
    return array


def _refusal(error: Exception) -> ValueError:
    words = one_line(error if type(error) is ValueError else f"{type(error).__name__}: {error}")
    return ValueError(printable(words, _QUOTED))
