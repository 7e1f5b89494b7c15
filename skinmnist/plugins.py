"""Samplers, models and metrics of other packages, which declare them as entry points.

A package declares a model in its ``pyproject.toml`` like this::

    [project.entry-points."skinmnist.models"]
    tiny_tree = "their_package.models:TinyTree"

Nothing is imported before a name is asked for.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from skinmnist.errors import InputError
from skinmnist.text import is_name, one_line

#: The group of entry points of each kind.
GROUPS = {kind: f"skinmnist.{kind}s" for kind in ("sampler", "model", "metric")}


@dataclass(frozen=True)
class Plugin:
    """A sampler, model or metric that another package declares."""

    kind: str
    entry: EntryPoint

    @property
    def name(self) -> str:
        """The name that people type."""
        return self.entry.name

    @property
    def source(self) -> str:
        """The package that declares it, and its version."""
        package = self.entry.dist
        return f"{package.name} {package.version}" if package is not None else self.entry.value

    def load(self) -> Any:
        """Return what the entry point names; of a class, an object made without arguments.

        Raises
        ------
        InputError
            Where its package cannot be imported, lacks the name, or makes no object.
        """
        try:
            found = self.entry.load()
            return found() if isinstance(found, type) else found
        except (Exception, SystemExit) as error:  # A package of somebody else's may raise anything.
            reason = one_line(f"{type(error).__name__}: {error}")
            raise InputError(
                f"the {self.kind} {self.name!r} of the package {self.source} cannot be loaded ({reason}); "
                "update or uninstall that package"
            ) from None

    def fingerprint(self) -> str:
        """Digest the package that it comes from: its version, and the text of its modules.

        A package that is developed in place changes without a new version, so the text counts as well.
        """
        state = hashlib.sha256(f"{self.source}\n{self.entry.value}\n".encode())
        for path in _modules_of(self.entry.module.partition(".")[0]):
            state.update(path.name.encode() + path.read_bytes())
        return state.hexdigest()


def find_plugins(kind: str) -> dict[str, Plugin]:
    """Return what other packages declare of one kind, by name; of equal names, the first in order."""
    declared = entry_points(group=GROUPS[kind])
    plugins = [Plugin(kind, entry) for entry in declared if is_name(entry.name) and ":" not in entry.name]
    plugins.sort(key=lambda plugin: (plugin.name, plugin.source), reverse=True)
    return {plugin.name: plugin for plugin in plugins}


def _modules_of(package: str) -> Iterator[Path]:
    """Yield the source files of a package, or the one of a module, in order."""
    module = importlib.import_module(package)
    if hasattr(module, "__path__"):
        for folder in sorted(module.__path__):
            yield from sorted(Path(folder).rglob("*.py"))
    elif module.__file__ is not None:
        yield Path(module.__file__)
