"""Download the tables of the Kaggle collection from Kaggle, a mirror or an archive."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from skinmnist import facts
from skinmnist.datasets.csv_table import parse_header
from skinmnist.datasets.download.fetch import (
    Expected,
    NotThereError,
    OnProgress,
    check_content,
    check_digest,
    fetch,
    split_url,
)
from skinmnist.datasets.files import (
    Owned,
    check_type,
    claim,
    decode,
    leave,
    move_new,
    without_mark,
    written_whole,
)
from skinmnist.datasets.metadata import REQUIRED_COLUMNS
from skinmnist.errors import InputError
from skinmnist.text import shown

SUMS_FILE = "SHA256SUMS"
#: Subfolder of the target folder for files that are not yet complete and verified.
WORK_FOLDER = ".skinmnist-download"
_SUMS_BYTES = 1 << 20
#: Maximum size of an archive; the full collection, which contains its 10,015 pictures twice, has 6 GB.
_ARCHIVE_BYTES = 8 * 2**30
_METADATA_BYTES = 8 * 2**20
_HEADER_BYTES = 1 << 20

#: Creates the progress callback for a file, given its name.
ProgressOf = Callable[[str], OnProgress]

_STEP = 1 << 18
_ENCRYPTED = 0x1
#: Errors raised by zipfile and its dependencies for altered bytes, names and offsets.
_DAMAGES = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, ValueError, OverflowError, struct.error)


@dataclass(frozen=True)
class Downloaded:
    """Names of downloaded, existing and missing files, with notes."""

    fetched: tuple[str, ...]  # Files that were downloaded
    there: tuple[str, ...]  # Files that were already in the folder
    missing: tuple[str, ...]  # Optional files that are missing from the mirror
    notes: tuple[str, ...] = ()  # Notes on unverified files and restarted downloads


def largest_files() -> dict[str, Expected]:
    """Return the files of the collection, with an upper bound on the size of each file.

    A row contains at most three digits and a comma per pixel, followed by a one-digit class code.
    """
    rows = sum(facts.ROWS_PER_CLASS)
    expected = {}
    for name in facts.COLLECTION_TABLES:
        side, mode = re.findall(r"_(\d+)_\d+_(\w+)\.csv", name)[0]
        pixels = int(side) ** 2 * (3 if mode == "RGB" else 1)
        # Allow for Windows line endings and a byte order mark.
        expected[name] = Expected(3 + (pixels * 10 + 7) + rows * (pixels * 4 + 3))
    return expected | {facts.METADATA_FILE: Expected(_METADATA_BYTES)}


def default_folder() -> Path:
    """Return the folder that ``skinmnist compare`` searches first."""
    named = os.environ.get("SKINMNIST_DATA")
    if named and Path(named).is_file():
        raise InputError(f"$SKINMNIST_DATA is the file {named!r}; expected a folder, so name one with --to")
    return Path(named) if named else Path("data")


def download(
    folder: Path,
    mirror: str | None = None,
    *,
    sums: Mapping[str, str] | None = None,
    progress_of: ProgressOf | None = None,
) -> Downloaded:
    """Download the files of the collection that are missing from a folder.

    `mirror` is the URL of a folder or of a zip archive (ending in ``.zip``), or the path or ``file:`` URL of
    a local folder, archive or single file. If None, files are downloaded from Kaggle with kagglehub. `sums`
    maps the names of files or of the archive to their SHA-256; a ``SHA256SUMS`` file next to the files is
    also used. If a file fails, files that are already complete are kept.
    """
    local = mirror and _on_this_machine(mirror)
    folder.mkdir(parents=True, exist_ok=True)
    expected = largest_files()
    there = tuple(name for name in expected if (folder / name).is_file())
    for name in expected.keys() - there:
        check_type(folder / name)  # Raises an error, for example for a broken link.
    wanted = {name: limits for name, limits in expected.items() if name not in there}
    if not wanted:
        return Downloaded((), there, ())
    with _workplace(folder, "" if mirror is None else _name_of(mirror)) as work:
        order = _Order(work, wanted, dict(sums or {}), progress_of)
        if mirror is None:
            came = _from_kaggle(order)
        elif local:
            came = _from_this_machine(local, order)
        elif _name_of(mirror).lower().endswith(".zip"):
            came = _from_archive(mirror, order)
        else:
            came = _from_folder(mirror, order)
    missing = tuple(name for name in wanted if name not in came.names)
    needed = [name for name in missing if name in (*facts.TABLE_FILES, facts.METADATA_FILE)]
    # A single table is enough if the user provides local files.
    some = local and any(name in facts.COLLECTION_TABLES for name in (*there, *came.names))
    if needed and not some:
        raise InputError(
            f"{mirror or 'Kaggle'} does not hold {', '.join(needed)}; expected a mirror of the collection"
        )
    return Downloaded(came.names, there, missing, came.notes)


def read_sums(path: Path) -> dict[str, str]:
    """Read a file in the format of ``sha256sum``, with a digest and a file name on each line.

    Folders in file names, including Windows folders, are ignored.
    """
    return _parse_sums(path.read_bytes(), str(path))


def _parse_sums(content: bytes, where: str) -> dict[str, str]:
    sums: dict[str, str] = {}
    for number, line in enumerate(without_mark(content).decode("utf-8", "replace").splitlines(), 1):
        # sha256sum starts a line with a backslash if the name contains escaped characters.
        match = re.fullmatch(r"\\?([0-9a-fA-F]{64}) [ *](.+)", line)
        if match is None:
            raise InputError(
                f"{where}, line {number} is not a SHA-256 followed by a name; expected what sha256sum writes"
            )
        name, digest = PureWindowsPath(match[2]).name, match[1].lower()
        second = sums.setdefault(name, digest) != digest
        if second and (name in largest_files() or name.lower().endswith(".zip")):
            raise InputError(f"{where}, line {number} gives {shown(name)} a second SHA-256; expected one")
    return sums


@dataclass(frozen=True)
class _Order:
    work: Path
    wanted: Mapping[str, Expected]
    sums: Mapping[str, str]
    progress_of: ProgressOf | None

    def with_sums(self, more: Mapping[str, str]) -> _Order:
        """Return the order with a mirror's checksums added; the user's checksums take precedence."""
        return replace(self, sums={**more, **self.sums})

    def expected(self) -> dict[str, Expected]:
        return {name: replace(limits, sha256=self.sums.get(name)) for name, limits in self.wanted.items()}

    def progress(self, name: str) -> OnProgress | None:
        return self.progress_of and self.progress_of(name)


@dataclass(frozen=True)
class _Came:
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def _unchecked(names: Iterable[str], sums: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note for each file that has no checksum."""
    listed = "in the list" if sums else "as there is no list (SHA256SUMS, or --sums)"
    return tuple(f"no checksum for {name} {listed}; it was not checked" for name in names if name not in sums)


def _on_this_machine(mirror: str) -> Path | None:
    """Return the local path given by a mirror, or None for a web address."""
    path = Path(mirror)
    if mirror.lower().startswith("file:"):
        with suppress(ValueError):  # An incomplete address.
            parts = urlsplit(mirror)
            path = Path(url2pathname(parts.path)) if parts.netloc in ("", "localhost") else path
    elif "://" in mirror:
        split_url(mirror)
        return None
    if not (path.is_dir() or path.is_file()):  # Opening a pipe would block.
        raise InputError(
            f"received the mirror {mirror!r}, which does not exist; expected an address that begins with "
            "http:// or https://, or a folder or an archive on this machine"
        )
    return path


def _from_this_machine(source: Path, order: _Order) -> _Came:
    """Copy files from a local folder, archive or single file; the source stays unchanged."""
    inside = source.is_dir()
    if inside and (source / SUMS_FILE).is_file():
        order = order.with_sums(read_sums(source / SUMS_FILE))
    if source.suffix.lower() == ".zip" and not inside:
        check_content(str(source), source, Expected(_ARCHIVE_BYTES, order.sums.get(source.name)))
        return _from_packed(source, order)
    paths = {name: source / name if inside else source for name in order.wanted}
    names = tuple(name for name, path in paths.items() if path.name == name and path.is_file())
    for name, limits in order.expected().items():
        if name in names:
            _take(paths[name], order.work, name, limits)
    return _Came(names, _unchecked(names, order.sums))


def _from_packed(archive: Path, order: _Order) -> _Came:
    """Extract files from an archive; the checksum of the archive covers all its files."""
    names = _unpack(archive, order.work, order.expected())
    return _Came(tuple(names), () if archive.name in order.sums else _unchecked(names, order.sums))


@contextmanager
def _workplace(folder: Path, archive: str) -> Iterator[Path]:
    """Create a work folder inside the user's folder and keep partial downloads there for the next call."""
    names = (*largest_files(), SUMS_FILE, *([archive] if archive.lower().endswith(".zip") else []))
    unfinished = tuple(name + end for name in names for end in (".part", ".part.json"))
    owned = Owned("download", files=(*names, *unfinished))
    work = folder / WORK_FOLDER
    check_type(work, stat.S_IFDIR)
    claim(work, owned)
    try:
        yield work
    finally:
        leave(work, owned, keep=unfinished)


def _from_folder(mirror: str, order: _Order) -> _Came:
    """Download the files one by one; files that do not exist are skipped."""
    base = mirror if mirror.endswith("/") else mirror + "/"
    order = order.with_sums(_sums_of_mirror(base, order.work))
    names: list[str] = []
    notes: list[str] = []
    for name, limits in order.expected().items():
        path, check = order.work / name, partial(_check_header, name=name)
        try:
            notes += fetch(base + name, path, limits, check=check, on_progress=order.progress(name))
        except NotThereError:
            continue
        move_new(path, order.work.parent / name)
        names.append(name)
    return _Came(tuple(names), (*notes, *_unchecked(names, order.sums)))


def _from_archive(mirror: str, order: _Order) -> _Came:
    archive = order.work / _name_of(mirror)
    limits = Expected(_ARCHIVE_BYTES, order.sums.get(archive.name))
    notes = fetch(mirror, archive, limits, on_progress=order.progress(archive.name))
    came = _from_packed(archive, order)
    return replace(came, notes=notes + came.notes)


def _from_kaggle(order: _Order) -> _Came:
    """Download each file with kagglehub and copy it from the cache of kagglehub."""
    try:
        import kagglehub
    except ImportError:
        raise InputError(
            "kagglehub is not installed; install the extra 'download': pip install 'skinmnist[download]', or "
            "name an address, a folder or an archive with --mirror"
        ) from None
    for name, limits in order.expected().items():
        try:
            cached = Path(kagglehub.dataset_download(facts.KAGGLE_HANDLE, path=name))
        except Exception as error:  # kagglehub propagates any error from its dependencies.
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"Kaggle did not provide {name} ({reason}); try again later, or fetch the collection "
                f"{facts.KAGGLE_HANDLE} by hand and name its archive with --mirror"
            ) from None
        _take(cached, order.work, name, limits)
    names = tuple(name for name in order.wanted if (order.work.parent / name).is_file())
    return _Came(names, _unchecked(names, order.sums) if order.sums else ())  # kagglehub verifies checksums.


def _take(path: Path, work: Path, name: str, limits: Expected) -> None:
    if zipfile.is_zipfile(path):  # Kaggle compresses large files.
        _unpack(path, work, {name: limits})
        return
    _check_header(path, name)
    with path.open("rb") as source, written_whole(work / name) as stream:
        copy_checked(source, stream, str(path), limits)
    move_new(work / name, work.parent / name)


def _unpack(archive: Path, work: Path, wanted: Mapping[str, Expected]) -> list[str]:
    names = extract(archive, work, wanted)
    for name in names:
        _check_header(work / name, name)
    for name in names:
        move_new(work / name, work.parent / name)
    return names


def _check_header(path: Path, name: str) -> None:
    """Check that the header of a file matches its name; this detects web pages, for example."""
    with path.open("rb") as stream:
        line = without_mark(stream.readline(_HEADER_BYTES)).rstrip(b"\r\n")
    try:
        header = decode(line, Path(name))
        if name != facts.METADATA_FILE:
            parse_header(header, Path(name))
        elif not {*REQUIRED_COLUMNS} <= set(header.split(",")):
            raise InputError(f"the header is {shown(header)} and lacks one of {', '.join(REQUIRED_COLUMNS)}")
    except InputError as error:
        raise InputError(f"the download is not a valid {name} and was rejected: {error}") from None


def _sums_of_mirror(base: str, work: Path) -> dict[str, str]:
    try:
        fetch(base + SUMS_FILE, work / SUMS_FILE, Expected(_SUMS_BYTES))
    except NotThereError:
        return {}
    return _parse_sums((work / SUMS_FILE).read_bytes(), base + SUMS_FILE)


def _name_of(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def extract(archive: Path, folder: Path, expected: Mapping[str, Expected]) -> list[str]:
    """Extract the expected members of a zip archive into a folder and return their names.

    Members are matched by file name and written directly into `folder`, regardless of their folder in the
    archive; no other member is opened. Members extracted before an error are kept.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened, archive, expected)
            for name, member in members.items():
                with written_whole(folder / name) as stream, opened.open(member) as source:
                    where = f"{archive.name}, member {member.filename!r}"
                    copy_checked(source, stream, where, expected[name])
    except InputError:
        raise
    except (*_DAMAGES, NotImplementedError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # Propagate errors such as a full disk; EINVAL indicates an invalid offset.
        raise InputError(f"{archive} is not a complete zip archive ({error}); fetch it again") from None
    return list(members)


def _members(
    opened: zipfile.ZipFile, archive: Path, expected: Mapping[str, Expected]
) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in opened.infolist():
        inside = PurePosixPath(member.filename.replace("\\", "/"))
        if inside.name not in expected or member.is_dir():
            continue
        where = f"{archive.name}, member {member.filename!r}"
        outside = inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]
        for fault, holds in (
            ("points out of the archive; expected a plain one", outside),
            ("is a link; expected a file", stat.S_ISLNK(member.external_attr >> 16)),
            ("is encrypted; expected a plain one", member.flag_bits & _ENCRYPTED),
            ("appears more than once; expected it once", inside.name in found),
        ):
            if holds:
                raise InputError(f"{where} {fault}, so try another mirror")
        found[inside.name] = member
    return {name: found[name] for name in expected if name in found}


def copy_checked(source: IO[bytes], stream: BinaryIO, where: str, expected: Expected) -> None:
    """Copy a file in blocks without relying on its declared size."""
    length, digest = 0, hashlib.sha256()
    while block := source.read(_STEP):
        length += len(block)
        if length > expected.largest:
            raise InputError(
                f"{where} has more than {expected.largest:,} bytes, which is too large; try another mirror"
            )
        digest.update(block)
        stream.write(block)
    check_digest(where, digest.hexdigest(), expected)
