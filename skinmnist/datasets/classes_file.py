"""Class names and picture size of a pixel table, given by the user or by a JSON file next to the table.

A CSV file contains neither: 7,500 columns match 75 x 100 in grey and 50 x 50 in colour, and 22,500 columns
match 75 x 100 in colour and 150 x 150 in grey.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from skinmnist import facts
from skinmnist.datasets.files import read_file, table_stem
from skinmnist.errors import InputError
from skinmnist.text import is_name, json_text, shown

CHANNELS = (1, 3)
_KEYS = {"class_names", "shape", "metadata_sha256", "table_sha256"}
ONE_CLASS = "names that differ only in case or blanks are one class"
_EXAMPLE = '{"class_names": ["benign", "malignant"], "shape": [75, 100, 3]}'


@dataclass(frozen=True)
class About:
    """Contents of the JSON file next to a pixel table."""

    class_names: tuple[str, ...]  # At least two names, in code order
    #: ``(height, width, channels)`` of one picture; if None, inferred from the number of columns.
    shape: tuple[int, int, int] | None
    path: Path
    sha256: str  # SHA-256 of the file
    #: SHA-256 of the metadata that `skinmnist.build` wrote with the table; None for files written by hand.
    metadata_sha256: str | None = None
    #: SHA-256 of the table that `skinmnist.build` wrote; None for earlier versions and files written by hand.
    table_sha256: str | None = None


@dataclass(frozen=True)
class Stated:
    """Class names and picture size given before a table is read, and their source."""

    class_names: tuple[str, ...] | None = None  # In code order
    names_by: str = ""  # ``--classes`` or the name of a JSON file
    #: ``(height, width, channels)``; if channels is 0, it is derived from the number of columns.
    shape: tuple[int, int, int] | None = None
    shape_by: str = ""


def state(
    table: Path, about: About | None, classes: Sequence[str] | None, size: Sequence[int] | None
) -> Stated:
    """Combine the user's settings with the JSON file next to a table; raise an error if they disagree."""
    names = stated_classes(classes)
    shape = None if size is None else stated_shape(size)
    if about is None:
        return Stated(names, "--classes", shape, "--size")
    if names is not None and names != about.class_names:
        raise InputError(
            f"--classes names {', '.join(names)}, but {about.path} names {', '.join(about.class_names)}; "
            "drop --classes, or correct that file"
        )
    fits = shape is None or about.shape is None or shape in (about.shape, (*about.shape[:2], 0))
    if not fits and about.shape is not None:
        raise InputError(
            f"--size is {' x '.join(map(str, filter(None, shape or ())))}, but {about.path} says "
            f"{' x '.join(map(str, about.shape))}; drop --size, or correct that file"
        )
    if about.shape is not None:
        return Stated(about.class_names, about.path.name, about.shape, about.path.name)
    return Stated(about.class_names, about.path.name, shape, "--size")


def stated_classes(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the class names that the user states, spelled consistently; raise an error if two are equal."""
    is_list = isinstance(classes, Iterable) and not isinstance(classes, str)
    return None if classes is None else checked_names(list(classes) if is_list else classes, "--classes")


def stated_shape(size: Sequence[int]) -> tuple[int, int, int]:
    """Return the height, width and channels that the user states; channels that are not stated become 0."""
    sides = tuple(size) if isinstance(size, Iterable) else ()
    if not sides or not all(isinstance(side, Integral) for side in sides):
        raise InputError(
            f"received the size {shown(size)}; expected whole numbers, such as (75, 100) or (75, 100, 3)"
        )
    if len(sides) not in (2, 3) or min(sides[:2]) < 1 or (*sides, 0)[2] not in (0, *CHANNELS):
        hint = "; convert the pictures to RGB first" if sides[2:] == (4,) else ""
        raise InputError(
            f"received --size {'x'.join(map(str, sides))}; expected height x width of at least 1 pixel each, "
            f"and 1 channel (grey) or 3 (RGB){hint}"
        )
    height, width, channels = (*map(int, sides), 0)[:3]
    return height, width, channels


def parse_size(text: str) -> tuple[int, int, int]:
    """Parse ``HxW`` or ``HxWxC`` into height, width and channels; missing channels become 0."""
    sides = re.fullmatch(r"([0-9]{1,5})[xX×]([0-9]{1,5})(?:[xX×]([0-9]{1,2}))?", text.strip())
    if sides is None:
        raise InputError(
            f"received --size {shown(text)}; expected height x width in pixels, and the channels if "
            "needed, such as 75x100 or 75x100x3"
        )
    return int(sides[1]), int(sides[2]), int(sides[3] or 0)


def spell_classes(names: Iterable[str], like: Iterable[str] = ()) -> list[str]:
    """Strip class names, and spell those that differ only in case alike, whatever their order.

    The spelling is that of HAM10000 if it has the class, so ``MEL`` becomes ``mel``; otherwise that of the
    names in `like`; otherwise the first in alphabetical order.
    """
    stripped = [name.strip() for name in names]
    spelling = {name: name for name in facts.CLASS_NAMES}
    for name in (*like, *sorted(set(stripped))):
        spelling.setdefault(name.casefold(), name)
    return [spelling[name.casefold()] for name in stripped]


def note_spellings(names: Iterable[str]) -> tuple[str, ...]:
    """Return a note if `spell_classes` merges names that differ in case."""
    stripped = {name.strip() for name in names}
    merged = len({name.casefold() for name in stripped}) < len(stripped)
    return ("labels that differ only in case were merged",) if merged else ()


def in_code_order(names: Collection[str]) -> tuple[str, ...]:
    """Sort class names into code order: that of HAM10000 if it has all of them, otherwise alphabetical."""
    if {*names} <= {*facts.CLASS_NAMES}:
        return tuple(name for name in facts.CLASS_NAMES if name in names)
    return tuple(sorted(names))


def about_file(table: Path) -> Path:
    """Return the path of the JSON file for a table: ``<table stem>_classes.json`` in the same folder."""
    return table.with_name(f"{table_stem(table)}_classes.json")


def about_content(
    class_names: tuple[str, ...], shape: tuple[int, int, int], metadata: bytes, table_sha256: str
) -> bytes:
    """Return the contents of the JSON file for a table built with this metadata."""
    described = {
        "class_names": list(class_names),
        "shape": list(shape),
        "metadata_sha256": hashlib.sha256(metadata).hexdigest(),
        "table_sha256": table_sha256,
    }
    return f"{json_text(described, indent=1)}\n".encode()


def read_about(table: Path) -> About | None:
    """Read the JSON file next to a pixel table; return None if it does not exist."""
    path = about_file(table)
    if not path.is_file():
        return None
    content = read_file(path)
    try:
        described = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # This includes files that are not valid UTF-8.
        raise InputError(f"{path} is not JSON ({error}); expected something like {_EXAMPLE}") from None
    if not isinstance(described, dict) or not {"class_names"} <= described.keys() <= _KEYS:
        keys = ", ".join(map(shown, described)) if isinstance(described, dict) else type(described).__name__
        raise InputError(f"{path} holds {keys or 'nothing'}; expected something like {_EXAMPLE}")
    return About(
        class_names=checked_names(described["class_names"], str(path)),
        shape=_shape(described["shape"], path) if "shape" in described else None,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        **{name: str(described[name]) for name in ("metadata_sha256", "table_sha256") if name in described},
    )


def checked_names(received: Any, source: str) -> tuple[str, ...]:
    """Return a list of class names, spelled consistently; raise InputError if it is none or two are equal."""
    names = received if isinstance(received, list) else []
    names = spell_classes(names) if all(map(is_name, names)) else []
    why = f"; {ONE_CLASS}" if len(set(names)) < len(names) else ""
    if len(names) < 2 or why:
        raise InputError(
            f"{source}: received the class names {shown(json.dumps(received, default=str))}; expected a list "
            f"of at least two different names in the order of their codes{why}"
        )
    return tuple(names)


def _shape(received: Any, path: Path) -> tuple[int, int, int]:
    whole = isinstance(received, list) and all(type(side) is int and side > 0 for side in received)
    if not whole or len(received) != 3 or received[2] not in CHANNELS:
        raise InputError(
            f"{path}: received the shape {shown(json.dumps(received))}; expected [height, width, channels] "
            "with 1 channel (grey) or 3 (RGB), such as [75, 100, 3]"
        )
    return received[0], received[1], received[2]
