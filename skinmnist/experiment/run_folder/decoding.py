"""Read JSON into frozen dataclasses, validating the type and range of every field, and write it."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from skinmnist.errors import InputError
from skinmnist.text import one_line

T = TypeVar("T")

#: Larger whole numbers cannot be valid counts.
_MOST = 2**53
#: Metadata for a field that is omitted from the JSON if it is empty.
OPTIONAL = {"optional": True}


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
