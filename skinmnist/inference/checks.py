"""Checks of what a model file says: it may come from anywhere, so nothing in it is believed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from skinmnist.text import printable


class UnreadableError(ValueError):
    """Why content is no model file, in a few words; readers turn it into an `InputError`."""


def entry(mapping: Any, key: str) -> Any:
    """Return what stands under a key."""
    if not isinstance(mapping, Mapping) or key not in mapping:
        raise UnreadableError(f"its manifest has no {key!r}")
    return mapping[key]


def whole(value: Any, what: str, low: int, high: int) -> int:
    """Return a whole number between two limits, both included."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UnreadableError(f"its entry {what!r} is no whole number from {low} to {high}")
    return value


def number(value: Any, what: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number between two limits, both included."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise UnreadableError(f"its entry {what!r} is no number that it can be")
    try:
        found = float(value)
    except OverflowError:
        # JSON has whole numbers of any length.
        found = math.inf
    if not math.isfinite(found):
        raise UnreadableError(f"its entry {what!r} is not finite")
    return found


def flag(value: Any, what: str) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool):
        raise UnreadableError(f"its entry {what!r} is neither true nor false")
    return value


def words(value: Any, what: str, longest: int = 200) -> str:
    """Return a text on one line that may be shown: signs that steer a terminal are refused."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or printable(value, None) != value:
        raise UnreadableError(f"its entry {what!r} is no plain text of at most {longest} signs")
    return value


def several(value: Any, what: str, low: int, high: int) -> list[Any]:
    """Return a list of so many entries."""
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise UnreadableError(f"its entry {what!r} is no list of {low} to {high} entries")
    return value


def one_of(value: Any, what: str, choices: Iterable[Any]) -> Any:
    """Return one of a few values."""
    known = list(choices)
    if not any(value == choice and type(value) is type(choice) for choice in known):
        raise UnreadableError(f"its entry {what!r} is none of {', '.join(map(str, known))}")
    return value
