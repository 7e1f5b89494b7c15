"""Samplers, models and metrics that other packages provide as entry points.

A package declares a model in its ``pyproject.toml``::

    [project.entry-points."skinmnist.models"]
    tiny_tree = "their_package.models:TinyTree"

Packages are imported only when one of their names is used.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from skinmnist.errors import InputError
from skinmnist.text import is_name, one_line

#: The entry-point group of each kind.
GROUPS = {kind: f"skinmnist.{kind}s" for kind in ("sampler", "model", "metric")}


@dataclass(frozen=True)
class Plugin:
    """A sampler, model or metric provided by another package."""

    kind: str
    entry: EntryPoint
    #: Packages whose declarations of the same name are ignored.
    hidden: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name under which users select it."""
        return self.entry.name

    @property
    def source(self) -> str:
        """The package that provides it, with its version."""
        package = self.entry.dist
        return f"{package.name} {package.version}" if package is not None else self.entry.value

    def load(self) -> Any:
        """Return the object of the entry point; a class is called without arguments.

        Raises
        ------
        InputError
            If the package cannot be imported, lacks the name, or fails to create the object.
        """
        try:
            found = self.entry.load()
            return found() if isinstance(found, type) else found
        except (Exception, SystemExit) as error:  # Third-party code may raise anything.
            reason = one_line(f"{type(error).__name__}: {error}")
            raise InputError(
                f"the {self.kind} {self.name!r} from the package {self.source} cannot be loaded ({reason}); "
                "update or uninstall that package"
            ) from None

    def fingerprint(self) -> str:
        """Compute a digest of the plugin's package: its version and the source text of its modules.

        The text is included because editable packages can change without a new version.
        """
        state = hashlib.sha256(f"{self.source}\n{self.entry.value}\n".encode())
        for path in _modules_of(self.entry.module.partition(".")[0]):
            state.update(path.name.encode() + path.read_bytes())
        return state.hexdigest()


def find_plugins(kind: str) -> dict[str, Plugin]:
    """Return the plugins of one kind by name; if several share a name, the first in order is used.

    Examples
    --------
    >>> sorted(find_plugins("sampler"))  # doctest: +SKIP
    ['TheirSampler']
    """
    declared = entry_points(group=GROUPS[kind])
    plugins = [Plugin(kind, entry) for entry in declared if is_name(entry.name) and ":" not in entry.name]
    found: dict[str, Plugin] = {}
    for plugin in sorted(plugins, key=lambda plugin: (plugin.name, plugin.source)):
        first = found.setdefault(plugin.name, plugin)
        if first is not plugin:
            found[plugin.name] = replace(first, hidden=(*first.hidden, plugin.source))
    return found


def notes_on_hidden(kind: str, names: Collection[str] | None = None) -> list[str]:
    """Return a note for each of these names, by default all, that several packages declare."""
    return [
        f"the {kind} {name!r} is that of {plugin.source}; {', '.join(plugin.hidden)} "
        f"{'declares' if len(plugin.hidden) == 1 else 'declare'} one of the same name, which does not count"
        for name, plugin in (find_plugins(kind) if names is None or names else {}).items()
        if plugin.hidden and (names is None or name in names)
    ]


def _modules_of(package: str) -> Iterator[Path]:
    """Yield the source files of a package or module, in order."""
    module = importlib.import_module(package)
    if hasattr(module, "__path__"):
        for folder in sorted(module.__path__):
            yield from sorted(Path(folder).rglob("*.py"))
    elif module.__file__ is not None:
        yield Path(module.__file__)
