"""Read and write arrays (``.npz``) and JSON; every input is treated as potentially damaged or malicious.

Arrays are checked for kind and shape. JSON is read into frozen dataclasses, whose annotations give the type
and range of every field.
"""

from __future__ import annotations

import io
import math
import types
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.files import read_foreign
from skinmnist.errors import InputError
from skinmnist.text import one_line, printable

Array = npt.NDArray[Any]
T = TypeVar("T")

#: Maximum total size of the arrays in one file in bytes, sufficient for a few million rows.
MOST_BYTES = 2**30
MOST_MEMBERS = 256
#: Maximum length of a quoted library message, which may contain long names from the file.
_QUOTED = 150
#: Signature of every entry in the central directory of a ZIP archive.
_ENTRY = b"PK\x01\x02"
#: Larger whole numbers cannot be valid counts.
_MOST = 2**53
#: Metadata for a field that is omitted from the JSON if it is empty.
OPTIONAL = {"optional": True}


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


@dataclass(frozen=True)
class Between:
    """The range of a number, with both ends included."""

    low: float
    high: float = _MOST


Count = Annotated[int, Between(0)]
Amount = Annotated[float, Between(0)]


def decode(kind: type[T], value: Any) -> T:
    """Read a JSON value as a type, such as a frozen dataclass; an InputError names the invalid field.

    Supported field types include ``str``, ``Annotated[int, Between(1, 5)]``, ``tuple[str, ...]``,
    ``Mapping[str, X]``, ``Literal``, ``X | None`` and other dataclasses. A field with a default value may be
    absent; unknown keys are ignored.
    """
    decoded: T = _decode(kind, value, "")
    return decoded


def encode(value: Any) -> Any:
    """Return the JSON form that `decode` can read: dicts in field order, and lists."""
    if is_dataclass(value):
        return {
            field.name: encode(item)
            for field in fields(value)
            if (item := getattr(value, field.name)) or not field.metadata.get("optional")
        }
    if isinstance(value, Mapping):
        return {name: encode(item) for name, item in value.items()}
    return [encode(item) for item in value] if isinstance(value, tuple | list) else value


def refused(where: str, wanted: str, value: Any) -> InputError:
    """Create the error for an invalid value."""
    received = one_line(ascii(value)[:200])
    received = received if len(received) <= 60 else received[:57] + "..."
    return InputError(f"{where or 'it'} is {received}, expected {wanted}")


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _fields(kind, value, where)
    if origin is Annotated:
        found = _decode(inner[0], value, where)
        if not inner[1].low <= found <= inner[1].high:
            raise refused(where, f"a number from {inner[1].low:,} to {inner[1].high:,}", value)
        return found
    if origin in (Union, types.UnionType):
        return None if value is None else _decode(inner[0], value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in inner:
            raise refused(where, f"one of {', '.join(inner)}", value)
        return value
    if origin is tuple:
        return _items(inner, value, where)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise refused(where, "an object", value)
        return {
            _text(name, f"a name in {where}"): _decode(inner[1], item, f"{where}[{ascii(name)[:40]}]")
            for name, item in value.items()
        }
    return value if kind is Any else _plain(kind, value, where)


def _plain(kind: type, value: Any, where: str) -> Any:
    if kind is str:
        return _text(value, where)
    if kind is bool:
        if not isinstance(value, bool):
            raise refused(where, "true or false", value)
        return value
    number = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST
    if kind is int:
        if not number:
            raise refused(where, "a whole number", value)
        return value
    if not number and not (isinstance(value, float) and math.isfinite(value)):
        raise refused(where, "a number", value)
    return value


def _text(value: Any, where: str) -> str:
    try:
        if isinstance(value, str) and value.encode() is not None:
            return value
    except UnicodeEncodeError:  # A lone surrogate, which cannot be written to a file.
        pass
    raise refused(where, "a text", value)


def _items(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    exact = None if inner[-1] is Ellipsis else len(inner)
    if not isinstance(value, list) or exact not in (None, len(value)):
        raise refused(where, "a list" if exact is None else f"a list of {exact}", value)
    kinds = [inner[0]] * len(value) if exact is None else inner
    return tuple(
        _decode(kind, item, f"{where}[{place}]")
        for place, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _fields(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise refused(where, "an object", value)
    found = {}
    for field, wanted in _hints(kind):
        name = f"{where}.{field.name}" if where else field.name
        if field.name in value:
            found[field.name] = _decode(wanted, value[field.name], name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{name} is missing, expected {_words(wanted)}")
    return kind(**found)


def _words(kind: Any) -> str:
    """Describe the expected value of a field."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    known = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
    return known.get(kind, "a list" if get_origin(kind) is tuple else "an object")


@cache
def _hints(kind: Any) -> list[tuple[Any, Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return [(field, hints[field.name]) for field in fields(kind)]
