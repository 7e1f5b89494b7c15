"""Folders of ours: how they are told from the user's, and what may be replaced and removed in them.

A marker file says that the names which skinmnist uses in a folder are its own there. Where it is missing, a
folder that holds one of these names is refused. Nothing else is ever replaced or removed, in any folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_IFDIR
from typing import NamedTuple

from skinmnist.datasets.files import (
    check_type,
    file_type,
    is_plain,
    open_plain,
    read_head,
    remove_torn,
)
from skinmnist.errors import InputError

LOCK_FILE = ".lock"


class Series(NamedTuple):
    """Files of which there may be any number.

    Attributes
    ----------
    folder : str
        Where they stand: relative, ``""`` for the folder itself, ``"a/*"`` for every folder in ``a``.
    name, head : str
        Patterns of the whole name, and of how the content begins.
    """

    folder: str
    name: str
    head: str = ""


@dataclass(frozen=True)
class Owned:
    """What skinmnist writes into folders of one kind.

    Attributes
    ----------
    purpose : str
        What such a folder is, for the marker and for errors.
    files : tuple of str
        Relative paths with ``/``.
    series : tuple of Series
    marker : str
        The file that marks such a folder.
    """

    purpose: str
    files: tuple[str, ...]
    series: tuple[Series, ...] = ()
    marker: str = ".skinmnist"

    @property
    def mark(self) -> bytes:
        """Content of the marker file."""
        return (
            f"A {self.purpose} of skinmnist, which may replace the files that it has names for.\n"
        ).encode()

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders inside that are made as well, each behind the one that holds it."""
        inner = [str(PurePosixPath(name).parent) for name in (self.marker, *self.files)]
        inner += [series.folder.removesuffix("/*") for series in self.series]
        return tuple(sorted({folder for folder in inner if folder not in ("", ".")}))


def is_marked(folder: Path, owned: Owned) -> bool:
    """Tell whether a folder carries the marker of a kind."""
    # From its second byte on: Windows refuses to read the first one of a lock that is held.
    # Two processes that mark a folder at once write the mark twice.
    return read_head(folder / owned.marker, start=1).startswith(owned.mark[1:])


def check_ours(folder: Path, owned: Owned, known: Callable[[Path], bool] = lambda _: False) -> None:
    """Refuse a folder in which something of the user's would be replaced; nothing is changed.

    Parameters
    ----------
    folder : Path
        It need not exist.
    owned : Owned
    known : callable, optional
        Tells folders that skinmnist made before it marked them.

    Raises
    ------
    InputError
        Names the file that stands in the way.
    """
    for name in owned.folders:
        check_type(folder / name, S_IFDIR)
    for name in (owned.marker, *owned.files):
        check_type(folder / name)
    if is_marked(folder, owned) or known(folder):
        return
    for name in (*owned.folders, *owned.files):
        if _has_content(folder / name):
            raise InputError(
                f"{folder} is no {owned.purpose} of skinmnist and holds {name}, which would be replaced; "
                f"name another folder, or move {name} away"
            )


def claim(folder: Path, owned: Owned, known: Callable[[Path], bool] = lambda _: False) -> None:
    """Make a folder, or take one in which nothing is in the way, and mark it; see `check_ours`."""
    check_ours(folder, owned, known)
    marker = folder / owned.marker
    marker.parent.mkdir(parents=True, exist_ok=True)
    # Never by replacing the file: it may be a lock that somebody holds. One of the user's stays as it is.
    with open(marker, "ab", opener=open_plain) as stream:
        if not stream.tell():
            stream.write(owned.mark)


def remove_owned(folder: Path, owned: Owned, keep: Collection[str] = ()) -> None:
    """Remove what skinmnist wrote into a folder, the marker and `keep` excepted.

    No link is followed, and a file of a series goes only where it begins as such.
    """
    if any(file_type(folder / name) not in (0, S_IFDIR) for name in owned.folders):
        return
    for name in owned.files:
        if name not in keep and is_plain(folder / name):
            (folder / name).unlink(missing_ok=True)
    for series in owned.series:
        for path in members(folder, series):
            path.unlink(missing_ok=True)


def leave(folder: Path, owned: Owned, keep: Collection[str] = ()) -> None:
    """Remove what skinmnist wrote into a marked folder, and the folder itself where that leaves it empty."""
    remove_owned(folder, owned, keep)
    for inner in [*_inner_folders(folder, owned), folder]:
        remove_torn(inner)
        if _is_empty_lock(inner / LOCK_FILE):
            (inner / LOCK_FILE).unlink()
        if inner != folder and not any(inner.iterdir()):
            inner.rmdir()
    if is_marked(folder, owned) and [path.name for path in folder.iterdir()] == [owned.marker]:
        (folder / owned.marker).unlink()
        folder.rmdir()


def _inner_folders(folder: Path, owned: Owned) -> Iterator[Path]:
    """Yield the folders inside that are ours, each before the one that holds it."""
    for name in reversed(owned.folders):
        inner = folder / name
        if file_type(inner) == S_IFDIR:
            if f"{name}/*" in {series.folder for series in owned.series}:
                yield from (path for path in inner.iterdir() if file_type(path) == S_IFDIR)
            yield inner


def members(folder: Path, series: Series) -> Iterator[Path]:
    """Yield the files of a series that are there."""
    place = folder / series.folder.removesuffix("/*")
    if file_type(place) != S_IFDIR and series.folder:
        return
    within = place.iterdir() if series.folder.endswith("/*") else [place]
    for inner in [path for path in within if path == folder or file_type(path) == S_IFDIR]:
        for path in inner.iterdir():
            named = re.fullmatch(series.name, path.name)
            if named and is_plain(path) and re.match(series.head.encode(), read_head(path)):
                yield path


def _has_content(path: Path) -> bool:
    kind = file_type(path)
    return any(not _is_empty_lock(inner) for inner in path.iterdir()) if kind == S_IFDIR else kind != 0


def _is_empty_lock(path: Path) -> bool:
    """Tell a lock file that holds no words, such as a run leaves that is killed at its very start."""
    return path.name == LOCK_FILE and is_plain(path) and not path.stat().st_size
