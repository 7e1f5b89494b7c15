"""Write files and folders atomically without replacing the user's files.

Every file that skinmnist writes goes through `written_whole`, and logs go through `open_plain`. Links are not
followed, pipes are not opened, and an existing file stays unchanged until its replacement is complete.

A marker file shows that skinmnist owns certain file names in a folder. A folder without the marker that
already contains one of these names is rejected. No other file is replaced or removed.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from skinmnist.errors import InputError
from skinmnist.names import closest

#: Flags that guard against a file being replaced with a link or pipe after the check; Windows has neither.
_UNFOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_HEAD_BYTES = 4096
#: Maximum number of characters of the target's name in the name of its temporary file.
_NAMED = 40
_TORN = re.compile(r"\.(.{1,40})\.skinmnist-[0-9a-f]{12}", re.DOTALL)
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

LOCK_FILE = ".lock"
#: Extensions of picture files, which users often specify instead of a table.
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
#: First bytes of compressed files, and the maximum compression ratio of deflate.
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
MOST_SHRUNK = 1032


def shipped(*names: str) -> Path:
    """Return a path below ``experiments/`` in a clone, or below its copy in the installed package."""
    package = Path(__file__).parents[1]
    copies = package / "_experiments"  # Created by experiments/build_command.py.
    return (copies if copies.is_dir() else package.parent / "experiments").joinpath(*names)


def as_path(value: object, expected: str) -> Path:
    """Convert a string or path-like object to a path; raise InputError for any other type."""
    if isinstance(value, os.PathLike):
        value = value.__fspath__()
    if not isinstance(value, str):
        raise InputError(f"received an object of {type(value).__name__}; expected {expected}")
    return Path(value)


def file_type(path: Path) -> int:
    """Return the file type, such as ``stat.S_IFREG``, without following links; 0 if nothing exists."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def is_plain(path: Path) -> bool:
    """Return whether a path is a regular file, not a link, pipe or device, without opening it."""
    try:
        return file_type(path) == stat.S_IFREG
    except (OSError, ValueError):
        return False


def check_type(path: Path, wanted: int = stat.S_IFREG) -> None:
    """Raise an error if a path exists and does not have the wanted type."""
    found = file_type(path)
    if found not in (0, wanted):
        expected = "folder" if wanted == stat.S_IFDIR else "file"
        raise InputError(
            f"{path} is {_KINDS.get(found, 'no file')}; expected a plain {expected} or none, so move it away"
        )


def check_replaceable(path: Path, is_ours: Callable[[bytes], bool]) -> None:
    """Raise an error if a file exists that skinmnist did not write."""
    check_type(path)
    if is_plain(path) and not is_ours(read_head(path)):
        raise InputError(
            f"{path} exists and was not written by skinmnist; name another file, or move it away"
        )


def read_head(path: Path, start: int = 0) -> bytes:
    """Return the first 4,096 bytes of a regular file, or no bytes if it cannot be opened."""
    try:
        with open(path, "rb", opener=open_plain) as stream:
            stream.seek(start)
            return stream.read(_HEAD_BYTES)
    except (OSError, InputError):
        return b""


def open_plain(path: str | Path, flags: int) -> int:
    """Open or create a regular file; an ``opener`` for `open` that neither follows links nor blocks."""
    check_type(Path(path))
    return os.open(path, flags | _UNFOLLOWED, 0o666)


@contextmanager
def written_whole(path: Path, *, lasting: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path`, and rename it to `path` if the block exits without an error.

    An existing file at `path` stays unchanged until then, and also if the block raises an error.
    """
    check_type(path)
    temporary = path.with_name(f".{path.name[:_NAMED]}.skinmnist-{secrets.token_hex(6)}")
    # Also open the file for reading, to allow mapping the written data.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | _UNFOLLOWED
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            if lasting:
                os.fsync(stream.fileno())
        if lasting:
            temporary.chmod(0o644)
        check_type(path)
        Path(temporary).replace(path)
    except BaseException as error:
        _name_disk(error, path.parent)
        with suppress(OSError):  # Report the original error, not an error during cleanup.
            temporary.unlink(missing_ok=True)
        raise
    if lasting:
        _sync_folder(path.parent)


def _name_disk(error: BaseException, folder: Path) -> None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) and not error.filename:
        error.filename = str(folder)


@contextmanager
def naming_disk(folder: Path) -> Iterator[None]:
    """Add the name of the folder to errors about a full disk."""
    try:
        yield
    except OSError as error:
        _name_disk(error, folder)
        raise


def write_atomically(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file atomically; see `written_whole`."""
    with written_whole(path, lasting=lasting) as stream:
        stream.write(content)


def move_new(source: Path, target: Path) -> None:
    """Rename a file written by skinmnist on the same disk, unless the target exists."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise InputError(f"{target} already exists; move it away, and try again") from None
    except (OSError, NotImplementedError):  # The disk does not support hard links.
        if file_type(target):
            raise InputError(f"{target} already exists; move it away, and try again") from None
        source.rename(target)
    else:
        source.unlink()


def remove_torn(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove temporary files left behind by killed processes; see `written_whole`.

    Only the process that holds the folder's lock may call this function; otherwise, it could remove files
    that are still being written.
    """
    for path in folder.iterdir():
        torn = _TORN.fullmatch(path.name)
        if torn and (names is None or torn[1] in names) and is_plain(path):
            path.unlink(missing_ok=True)


def stat_file(path: Path) -> os.stat_result:
    """Return the status of an input file, including its size and modification time."""
    try:
        status = path.stat()
    except OSError as error:
        raise _refusal(path, error) from None
    except ValueError:  # The name contains a zero byte or a lone surrogate.
        raise InputError(f"{path} is not a valid file name; expected a CSV file") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder; expected a CSV file, so {_instead_of_folder(path)}")
    if path.suffix.lower() in PICTURES:
        raise InputError(
            f"{path} is a picture; expected a CSV file of pixels: `skinmnist build FOLDER --out table.csv` "
            "makes one from pictures, and `skinmnist predict MODEL IMAGE` classifies one"
        )
    return status


def _instead_of_folder(path: Path) -> str:
    """Return advice for a user who specified a folder instead of a table."""
    names = sorted(entry.name for entry in path.iterdir()) if os.access(path, os.R_OK) else []
    tables = [name for name in names if name.lower().endswith(".csv")]
    if "run.json" in names:
        return f"name the table of this run; `skinmnist report {path}` writes its report again"
    if any(Path(name).suffix.lower() in PICTURES for name in names):
        return f"make a table from its pictures: `skinmnist build {path} --out table.csv`"
    return f"name the file inside it{f', such as {path / tables[0]}' if tables else ''}"


def read_file(path: Path) -> bytes:
    """Return the contents of an input file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refusal(path, error) from None


def is_packed(path: Path) -> bool:
    """Return whether a file is compressed with gzip or zip; False for an unreadable file."""
    try:
        if not path.is_file():  # Reading a pipe would consume its data.
            return False
        with path.open("rb") as stream:
            return stream.read(len(ZIP)).startswith((GZIP, ZIP))
    except OSError:
        return False


def table_stem(path: Path) -> str:
    """Return the name of a table without its extensions, including the one for compression."""
    return Path(path.stem).stem if path.suffix.lower() in (".gz", ".zip") else path.stem


def in_own_folder(path: Path) -> Path:
    """Return the file inside a folder of the same name, as Windows extracts archives, or `path` itself."""
    inner = path / path.name
    return inner if path.is_dir() and inner.is_file() else path


def read_foreign(path: Path, most: int) -> bytes:
    """Return the contents of an untrusted file without blocking on a pipe.

    Raises ValueError if it is not a file or is larger than `most` bytes.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    if status.st_size > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return path.read_bytes()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, without loading the file into memory."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _refusal(path, error) from None


def without_mark(content: bytes) -> bytes:
    """Remove the UTF-8 byte order mark that spreadsheet programs add."""
    return content.removeprefix(codecs.BOM_UTF8)


def decode(content: bytes, path: Path) -> str:
    """Decode the contents or the first lines of a file as UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        row = before.count(b"\n") - 1
        where = f"{path}, header (line 1)" if row < 0 else place(path, row)
        cell = before[before.rfind(b"\n") + 1 :].count(b",") + 1
        raise InputError(
            f"{where}, cell {cell}: received the byte 0x{content[error.start]:02x}, which is not UTF-8; "
            f"expected a plain CSV file, so save it again as UTF-8"
        ) from None


def place(path: Path, row: int, line: int | None = None) -> str:
    """Return the location of a CSV row for an error message, such as ``table.csv, row 41 (line 43)``."""
    return f"{path}, row {row} (line {row + 2 if line is None else line})"


def _refusal(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = closest(path.name, names)
        mend = f"did you mean {path.with_name(near)}?" if near else "check its name and folder"
        return InputError(f"{path} does not exist; expected a CSV file{'; ' if near else ', so '}{mend}")
    reason = (error.strerror or str(error)).lower()
    return InputError(f"{path} cannot be read ({reason}); expected a readable CSV file")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot sync a folder.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Series(NamedTuple):
    """A group of files with related names and any number of members."""

    #: Relative folder: ``""`` for the folder itself, ``"a/*"`` for every subfolder of ``a``.
    folder: str
    name: str  # Patterns for the full name and for the first bytes of the file
    head: str = ""


@dataclass(frozen=True)
class Owned:
    """The files that skinmnist writes into a folder for one purpose."""

    purpose: str  # Purpose of the folder, stated in the marker and in errors
    files: tuple[str, ...]  # Relative paths with ``/``
    series: tuple[Series, ...] = ()
    marker: str = ".skinmnist"  # Name of the marker file

    @property
    def mark(self) -> bytes:
        """Contents of the marker file."""
        return (
            f"A {self.purpose} of skinmnist, which may replace the files that it has names for.\n"
        ).encode()

    @property
    def folders(self) -> tuple[str, ...]:
        """Subfolders to create, parents first."""
        inner = [str(PurePosixPath(name).parent) for name in (self.marker, *self.files)]
        inner += [series.folder.removesuffix("/*") for series in self.series]
        return tuple(sorted({folder for folder in inner if folder not in ("", ".")}))


def is_marked(folder: Path, owned: Owned) -> bool:
    """Return whether a folder has a valid marker file."""
    # Skip the first byte, which Windows does not allow reading from a lock in use.
    # Two processes that mark a folder at the same time write the marker text twice.
    return read_head(folder / owned.marker, start=1).startswith(owned.mark[1:])


def check_ours(folder: Path, owned: Owned, known: Callable[[Path], bool] = lambda _: False) -> None:
    """Raise an error if writing into a folder would replace the user's files; nothing is changed."""
    for name in owned.folders:
        check_type(folder / name, stat.S_IFDIR)
    for name in (owned.marker, *owned.files):
        check_type(folder / name)
    if is_marked(folder, owned) or known(folder):
        return
    for name in (*owned.folders, *owned.files):
        if _has_content(folder / name):
            raise InputError(
                f"{folder} is not a {owned.purpose} of skinmnist and holds {name}, which would be replaced; "
                f"name another folder, or move {name} away"
            )


def claim(folder: Path, owned: Owned, known: Callable[[Path], bool] = lambda _: False) -> None:
    """Create and mark a folder, or mark an existing one after checking it with `check_ours`."""
    check_ours(folder, owned, known)
    marker = folder / owned.marker
    marker.parent.mkdir(parents=True, exist_ok=True)
    # Do not replace the file, because it may be a lock in use. The user's files stay unchanged.
    with open(marker, "ab", opener=open_plain) as stream:
        if not stream.tell():
            stream.write(owned.mark)


def remove_owned(folder: Path, owned: Owned, keep: Collection[str] = ()) -> None:
    """Remove the files that skinmnist wrote into a folder, except the marker and `keep`.

    Links are not followed, and a file of a series is removed only if its first bytes match the series.
    """
    if any(file_type(folder / name) not in (0, stat.S_IFDIR) for name in owned.folders):
        return
    for name in owned.files:
        if name not in keep and is_plain(folder / name):
            (folder / name).unlink(missing_ok=True)
    for series in owned.series:
        for path in members(folder, series):
            path.unlink(missing_ok=True)


def leave(folder: Path, owned: Owned, keep: Collection[str] = ()) -> None:
    """Remove the files that skinmnist wrote into a marked folder, and the folder if it is then empty."""
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
    """Yield the subfolders created by skinmnist, children first."""
    for name in reversed(owned.folders):
        inner = folder / name
        if file_type(inner) == stat.S_IFDIR:
            if f"{name}/*" in {series.folder for series in owned.series}:
                yield from (path for path in inner.iterdir() if file_type(path) == stat.S_IFDIR)
            yield inner


def members(folder: Path, series: Series) -> Iterator[Path]:
    """Yield the existing files of a series."""
    place = folder / series.folder.removesuffix("/*")
    if file_type(place) != stat.S_IFDIR and series.folder:
        return
    within = place.iterdir() if series.folder.endswith("/*") else [place]
    for inner in [path for path in within if path == folder or file_type(path) == stat.S_IFDIR]:
        for path in inner.iterdir():
            named = re.fullmatch(series.name, path.name)
            if named and is_plain(path) and re.match(series.head.encode(), read_head(path)):
                yield path


def _has_content(path: Path) -> bool:
    kind = file_type(path)
    return any(not _is_empty_lock(inner) for inner in path.iterdir()) if kind == stat.S_IFDIR else kind != 0


def _is_empty_lock(path: Path) -> bool:
    """Return whether a path is an empty lock file left behind by a run that was killed at startup."""
    return path.name == LOCK_FILE and is_plain(path) and not path.stat().st_size
