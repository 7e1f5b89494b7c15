"""Case-insensitive lookup of names given by users, with suggestions for misspelt names, and plugins.

Other packages provide samplers, models and metrics as entry points. A package declares a model in its
``pyproject.toml``::

    [project.entry-points."skinmnist.models"]
    tiny_tree = "their_package.models:TinyTree"

Packages are imported only when one of their names is used.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinmnist.errors import InputError
from skinmnist.text import is_name, one_line, printable, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The kinds of names, and the alternatives accepted in place of a registered name.
KINDS = {
    "sampler": "package.module:Class",
    "model": "package.module:Class",
    "metric": "a function f(y_true, y_pred)",
    "preset": "a TOML file",
}
#: The separator between the two names of a pair.
PAIRED = " + "
#: Minimum similarity between a name and its misspelling, from 0 to 1.
_ALIKE = 0.65
#: Maximum number of names listed in an error.
_FEW = 8
#: The entry-point group of each kind.
GROUPS = {kind: f"skinmnist.{kind}s" for kind in ("sampler", "model", "metric")}


def known_spelling(name: str, known: Iterable[str]) -> str:
    """Return the registered spelling of a name, ignoring case; return unregistered names unchanged.

    >>> known_spelling("smote", ["none", "SMOTE"])
    'SMOTE'
    """
    spellings = list(known)
    if name in spellings:
        return name
    return next((spelling for spelling in spellings if spelling.casefold() == name.casefold()), name)


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the registered name closest to a misspelt name, or None.

    >>> closest("smot", ["none", "SMOTE"])
    'SMOTE'
    """
    spellings = {spelling.casefold(): spelling for spelling in known}
    found = difflib.get_close_matches(name.casefold(), spellings, n=1, cutoff=_ALIKE)
    return spellings[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], written: Callable[[str], str] = repr) -> str:
    """Return ``; did you mean ...?`` for a misspelt name, or an empty string if no name is close.

    Examples
    --------
    >>> did_you_mean("smot", ["none", "SMOTE"])
    "; did you mean 'SMOTE'?"
    """
    near = closest(name, known)
    return f"; did you mean {written(near)}?" if near is not None else ""


def pair_name(pair: tuple[str, str], longest: int | None = None) -> str:
    """Return a sampler-model pair in user notation: ``SMOTE + svm``.

    With `longest`, the result is made printable, and long names are shortened in the middle.

    Examples
    --------
    >>> pair_name(("SMOTE", "svm"))
    'SMOTE + svm'
    """
    if longest is None:
        return PAIRED.join(pair)
    room = longest - len(PAIRED)
    sampler = printable(pair[0], max(room // 2, room - len(printable(pair[1], None))))
    return PAIRED.join((sampler, printable(pair[1], room - len(sampler))))


def find_pair(named: object, pairs: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Return the pair named by ``"SMOTE + svm"`` or ``("SMOTE", "svm")``, ignoring case and spaces.

    Raises
    ------
    InputError
        If the pair is not in `pairs`.

    Examples
    --------
    >>> find_pair("smote+SVM", [("none", "svm"), ("SMOTE", "svm")])
    ('SMOTE', 'svm')
    """
    written = {pair_name(pair): pair for pair in pairs}
    if not written:
        raise InputError("no cell of this run has finished; run the comparison again")
    first, parts = next(iter(written)), [named] if isinstance(named, str) else named
    if not (
        isinstance(parts, tuple | list) and len(parts) in (1, 2) and all(isinstance(p, str) for p in parts)
    ):
        raise InputError(f"received {shown(named)} as a pair; expected text such as {first!r}")
    text = PAIRED.join(parts)
    for name, pair in written.items():
        if _squeezed(name) == _squeezed(text):
            return pair
    for name, pair in written.items():
        if _squeezed(pair_name(pair[::-1])) == _squeezed(text):
            raise InputError(f"unknown pair {shown(text)}; did you mean {name!r}?")
    few = ", ".join([*written][:_FEW]) + ", ..." * (len(written) > _FEW)
    hint = did_you_mean(text, written) or f"; expected a sampler and a model of this run: {few}"
    raise InputError(f"unknown pair {shown(text)}{hint}")


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _is_importable(module: str, attribute: str) -> bool:
    """Return whether a module can be imported and has an attribute; otherwise it is not suggested."""
    if not (module.replace(".", "").isidentifier() and attribute.isidentifier()):
        return False
    try:
        return hasattr(importlib.import_module(module), attribute)
    except Exception:  # Importing a module may raise anything.
        return False


def unknown_name(
    kind: str, name: str, known: Iterable[str], others: Mapping[str, Iterable[str]] | None = None
) -> InputError:
    """Return the error for an unregistered name; its message suggests the likely correction.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    known : iterable of str
        Registered names of this kind.
    others : mapping of str to iterable of str, optional
        Registered names of other kinds, by kind, to recognise names given in the wrong place.
    """
    known = list(known)
    parts = name.replace(",", " ").replace(";", " ").split()
    if len(parts) > 1 and all(known_spelling(part, known) in known for part in parts):
        right = [known_spelling(part, known) for part in parts]
        return InputError(
            f"received {shown(name)} as one {kind}; separate the names with spaces (--{kind}s "
            f"{' '.join(right)}), in Python as a list ({right})"
        )
    for other, names in (others or {}).items():
        names = list(names)
        if known_spelling(name, names) in names:
            return InputError(
                f"{known_spelling(name, names)!r} is a {other}, not a {kind}; move it to the {other}s"
            )
    if kind in ("sampler", "model") and name.endswith(".py"):
        module = os.path.splitext(os.path.basename(name))[0]  # noqa: PTH119, PTH122
        return InputError(f"received the file {shown(name)} as a {kind}; name a class in it: {module}:CLASS")
    if kind != "preset" and os.path.isfile(name):  # noqa: PTH113
        return InputError(
            f"received the file {shown(name)} as a {kind}; name a table before the options, as in "
            "`skinmnist compare TABLE.csv --samplers none SMOTE`"
        )
    module, _, attribute = name.rpartition(".")
    if kind in ("sampler", "model") and _is_importable(module, attribute):
        return InputError(
            f"unknown {kind} {shown(name)}; write a colon before the class: {module}:{attribute}"
        )
    hint = did_you_mean(name, known)
    if hint:
        return InputError(f"unknown {kind} {shown(name)}{hint} (`skinmnist list {kind}s` shows all)")
    return InputError(
        f"unknown {kind} {shown(name)}; expected {KINDS[kind]}, or a name that `skinmnist list {kind}s` shows"
    )


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
        for path in source_files(self.entry.module.partition(".")[0]):
            state.update(path.name.encode() + path.read_bytes())
        return state.hexdigest()


def find_plugins(kind: str) -> dict[str, Plugin]:
    """Return the plugins of one kind by name; if several share a name, the first in order is used.

    Examples
    --------
    >>> sorted(find_plugins("sampler"))  # doctest: +SKIP
    ['TheirSampler']
    """
    from importlib.metadata import entry_points

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


def locate_package(package: str) -> list[Path]:
    """Return the folders of a package, or the file of a module, without importing it; may be empty."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # The module was created at run time.
        spec = None
    if spec is not None and spec.submodule_search_locations is not None:
        return [Path(folder) for folder in sorted(spec.submodule_search_locations)]
    return [Path(spec.origin)] if spec is not None and spec.has_location and spec.origin else []


def source_files(package: str) -> Iterator[Path]:
    """Yield the source files of a package or module, in order."""
    for path in locate_package(package):
        yield from filter(Path.is_file, sorted(path.rglob("*.py")) if path.is_dir() else [path])


def installed_version(package: str) -> str:
    """Return the names and versions of the distributions that installed a package; empty for a user's code.

    Installers leave a distribution's METADATA in the folder of its packages. The sources of an editable
    package are elsewhere, and source trees and loose modules have no METADATA.
    """
    from importlib.metadata import distribution

    folders = {str(path.parent) for path in locate_package(package)}
    found = map(distribution, sorted({*_distributions().get(package, [])}))
    return " ".join(
        f"{one.name} {one.version}"
        for one in found
        if str(one.locate_file("")) in folders and one.read_text("METADATA")
    )


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return the names of the distributions of each package on the path."""
    from importlib.metadata import packages_distributions

    return packages_distributions()
