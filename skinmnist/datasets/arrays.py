"""Read and write ``.npz`` files; every input file is treated as potentially damaged or malicious."""

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

#: Maximum total size of the arrays in one file in bytes, sufficient for a few million rows.
MOST_BYTES = 2**30
MOST_MEMBERS = 256
#: Maximum length of a quoted library message, which may contain long names from the file.
_QUOTED = 150
#: Signature of every entry in the central directory of a ZIP archive.
_ENTRY = b"PK\x01\x02"


def encode_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Encode arrays as an ``.npz`` file; equal arrays give identical bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def encode_array(array: Array) -> bytes:
    """Encode an array as a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of an ``.npz`` file; raise OSError if unreadable, or ValueError if invalid."""
    return decode_arrays(read_foreign(path, MOST_BYTES))


def decode_arrays(content: bytes) -> dict[str, Array]:
    """Decode an ``.npz`` file into arrays by name; raise ValueError if invalid, damaged or too large."""
    members = decode_members(content)
    return {name.removesuffix(".npy"): decode_array(member, name) for name, member in members.items()}


def decode_members(content: bytes, most: int = MOST_BYTES) -> dict[str, bytes]:
    """Return the members of a ZIP archive by name, up to `most` bytes in total.

    `content` is the whole file, because zipfile does not close the handle of a damaged file.
    """
    try:
        if content.count(_ENTRY) > MOST_MEMBERS:
            raise ValueError(f"it has more than {MOST_MEMBERS} members")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Limit the decompressed size, because zeros compress by a factor of a thousand.
            size = sum(member.file_size for member in archive.infolist())
            if size > most:
                raise ValueError(f"its members take {size:,} bytes, expected at most {most:,}")
            return {member.filename: archive.read(member) for member in archive.infolist()}
    except Exception as error:
        # Damaged archives make zipfile raise many kinds of errors: BadZipFile, zlib.error, EOFError,
        # NotImplementedError for a compression method, RuntimeError for a password ...
        raise _refusal(error) from None


def decode_array(content: bytes, name: str) -> Array:
    """Decode a ``.npy`` file; raise a ValueError that includes the name if it is invalid or damaged."""
    stream = io.BytesIO(content)
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:
        raise ValueError(f"{ascii(name)[:60]} is not an array ({_refusal(error)})") from None
    if stream.read(1):
        raise ValueError(f"{ascii(name)[:60]} holds data after its array")
    return array


def take_array(arrays: Mapping[str, Array], name: str, kinds: str, shape: tuple[int | None, ...]) -> Array:
    """Return an array; raise ValueError if its numpy kind, such as ``"iu"``, or its shape does not match.

    None in `shape` allows any length.
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
