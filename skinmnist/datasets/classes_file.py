"""The small JSON beside a pixel table: what its classes are called, and what size its pictures have.

A CSV shows neither: 7,500 columns are 75 x 100 in grey as well as 50 x 50 in colour, and 22,500
are 75 x 100 in colour as well as 150 x 150 in grey.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinmnist.datasets.files import read_file
from skinmnist.errors import InputError
from skinmnist.text import is_name, json_text, shown

CHANNELS = (1, 3)
_KEYS = {"class_names", "shape", "metadata_sha256", "table_sha256"}
_EXAMPLE = '{"class_names": ["benign", "malignant"], "shape": [75, 100, 3]}'


@dataclass(frozen=True)
class About:
    """What the JSON beside a pixel table declares."""

    class_names: tuple[str, ...]  # In code order; at least two
    #: ``(height, width, channels)`` of one picture; None to infer it from the number of columns.
    shape: tuple[int, int, int] | None
    path: Path
    sha256: str  # Of the file's content
    #: Of the metadata that `skinmnist.build` wrote beside the table; None where it was made by hand.
    metadata_sha256: str | None = None
    #: Of the table that `skinmnist.build` wrote; None where it was made by hand or by an earlier version.
    table_sha256: str | None = None


def about_file(table: Path) -> Path:
    """Return where the JSON of a table stands: ``<table stem>_classes.json`` beside it."""
    return table.with_name(f"{table.stem}_classes.json")


def about_content(
    class_names: tuple[str, ...], shape: tuple[int, int, int], metadata: bytes, table_sha256: str
) -> bytes:
    """Return the content of the JSON of a table that is built with this metadata."""
    described = {
        "class_names": list(class_names),
        "shape": list(shape),
        "metadata_sha256": hashlib.sha256(metadata).hexdigest(),
        "table_sha256": table_sha256,
    }
    return f"{json_text(described, indent=1)}\n".encode()


def read_about(table: Path) -> About | None:
    """Read what stands beside a pixel table, or return None where nothing does."""
    path = about_file(table)
    if not path.is_file():
        return None
    content = read_file(path)
    try:
        described = json.loads(content.decode("utf-8-sig"))
    except ValueError as error:  # also what is not UTF-8
        raise InputError(f"{path} is not JSON ({error}); expected something like {_EXAMPLE}") from None
    if not isinstance(described, dict) or not {"class_names"} <= described.keys() <= _KEYS:
        keys = ", ".join(map(shown, described)) if isinstance(described, dict) else type(described).__name__
        raise InputError(f"{path} holds {keys or 'nothing'}; expected something like {_EXAMPLE}")
    return About(
        class_names=_names(described["class_names"], path),
        shape=_shape(described["shape"], path) if "shape" in described else None,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        **{name: str(described[name]) for name in ("metadata_sha256", "table_sha256") if name in described},
    )


def _names(received: Any, path: Path) -> tuple[str, ...]:
    names = received if isinstance(received, list) else []
    usable = all(map(is_name, names))
    if len(names) < 2 or not usable or len(set(names)) < len(names):
        raise InputError(
            f"{path}: received the class names {shown(json.dumps(received))}; expected a list of at least "
            "two different names in the order of their codes"
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
