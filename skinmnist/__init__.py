"""Honest, fast, CPU-only comparisons of class-imbalance methods on skin-lesion pixel tables."""

from __future__ import annotations

import os
import sys

if sys.argv[:1] == ["-m"] and sys.path[:1] in ([os.getcwd()], [""]):  # noqa: PTH109
    # `python -m` puts the working directory first on the path, where the user's random.py would hide the
    # standard module. Moved to the end, the directory still provides the user's models. Even pathlib must not
    # be imported before this. Worker processes inherit the variable.
    sys.path.append(sys.path.pop(0))
    os.environ["PYTHONSAFEPATH"] = "1"

import ast
import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# The stub lists the public names and their modules; each is imported on first use.
_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_HOMES = {
    alias.name: str(node.module)
    for node in _STUB.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        # Python appends its own suggestion to the message.
        raise AttributeError(
            f"module 'skinmnist' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        )
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
