"""Cache parsed files in the user's cache folder to reduce later loads to milliseconds.

Each path has a note that maps its size and times to the SHA-256 of its contents, which avoids hashing the
file again. Parsed arrays are stored as ``.npy`` files under this SHA-256, which avoids parsing again: if the
same bytes occur under another path or with a new modification time, they are hashed but not parsed. Every
file ends with a checksum of its name and bytes; incomplete, altered, foreign or invalid entries are ignored
and rewritten. Nothing is unpickled or evaluated. If the folder is not writable, loading still works but is
slower.

What is computed, rather than read, is stored with a digest of the code that computes it (`code_digest`), here
and in run folders; it goes stale when that code changes.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import math
import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import platformdirs

from skinmnist.datasets.files import (
    MOST_SHRUNK,
    check_replaceable,
    hash_file,
    is_packed,
    open_plain,
    read_file,
    read_head,
    stat_file,
    written_whole,
)
from skinmnist.datasets.mapped import give_back, is_large_file, write_blocks
from skinmnist.errors import InputError

Arrays = dict[str, npt.NDArray[Any]]
#: Stores an array under a name, given a function that writes the array to a stream as ``.npy``.
Store = Callable[[str, Callable[[BinaryIO], object]], None]

_PACKAGE = Path(__file__).parents[1]
_SEAL_BYTES = 4
#: First bytes of an array, a note or an emptied file; skinmnist writes no other files into the cache.
_ENTRY = rb"\x93NUMPY|\d+ \d+ |$"
#: The ``.npy`` header of an array with one or two axes, the only source of its dtype and shape.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<>|][uif][1248]|[<>]U\d{1,3})', 'fortran_order': False, "
    rb"'shape': \((\d{1,15}),(?: (\d{1,15}))?\), \} *\n",
    re.DOTALL,
)
_HEADER_BYTES = 256


def cache_folder() -> Path:
    """Return ``$SKINMNIST_CACHE`` or the platform's user cache folder, which may not exist yet."""
    named = os.environ.get("SKINMNIST_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("skinmnist", appauthor=False)


def parse_once(
    path: Path,
    kind: str,
    names: tuple[str, ...],
    parse: Callable[[bytes], Arrays],
    is_sound: Callable[[Arrays], bool],
    parse_large: Callable[[Store], None] | None = None,
) -> tuple[Arrays, str]:
    """Parse a file, or return the cached result for the same contents, and return the SHA-256 of the file.

    `kind` identifies the type of result and the version of its parser, such as ``"table-1"``. `parse`
    converts the contents to arrays with these `names`; no array may have more items than the decompressed
    file has bytes. If `parse` raises an error, nothing is stored. Cached arrays that `is_sound` rejects are
    ignored. `parse_large` reads a large file in chunks and stores its arrays through the function passed to
    it; if an array is then missing, for example because the file is invalid, the whole file is parsed.

    The arrays are read-only memory maps, or the result of `parse` if the cache cannot be written.
    """
    folder = cache_folder()
    size, fingerprint = stat_file(path).st_size, _fingerprint(path)
    packed = is_packed(path)
    most = size * MOST_SHRUNK if packed else size
    note = folder / f"path-{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()}"
    sha256 = _recall_content(note, fingerprint)

    def recall() -> Arrays | None:
        found = _recall(folder, f"{kind}-{sha256}", names, most)
        return found if found and is_sound(found) else None

    if sha256 and (arrays := recall()):
        return arrays, sha256

    large = parse_large is not None and is_large_file(size) and not packed
    content = b"" if large else read_file(path)
    sha256 = hash_file(path) if large else hashlib.sha256(content).hexdigest()
    key = f"{kind}-{sha256}"
    arrays = recall()
    if arrays is None and large and parse_large is not None:
        parse_large(lambda name, write: _write_sealed(_array_file(folder, key, name), write))
        if fingerprint != _fingerprint(path):  # The file changed, so the stored arrays may be outdated.
            for file in (_array_file(folder, key, name) for name in names):
                if _map_entry(file, size) is not None:
                    file.unlink(missing_ok=True)
            raise InputError(f"{path} changed while it was read; wait until it is complete, and try again")
        arrays = recall()
    if arrays is None:
        if large:
            content = read_file(path)
            sha256 = hashlib.sha256(content).hexdigest()
            key = f"{kind}-{sha256}"
        parsed = parse(content)
        for name in names:
            _write_sealed(_array_file(folder, key, name), partial(np.save, arr=parsed[name]))
        arrays = recall() or parsed
    if fingerprint == _fingerprint(path) and _settled(path):
        _write_sealed(note, lambda file: file.write(f"{fingerprint}\n{sha256}\n".encode()))
    return arrays, sha256


def render_once(
    key: str, shape: tuple[int, int], render: Callable[[], Iterable[npt.NDArray[np.uint8]]]
) -> npt.NDArray[np.uint8]:
    """Render a large matrix block by block into the cache, or map an existing rendering.

    `key` must identify everything that the rows depend on; `render` yields blocks of shape (m, columns). The
    result is a read-only memory map, or an in-memory array if the cache is not writable.
    """
    file = _array_file(cache_folder(), key, "pixels")
    for attempt in range(2):
        found = _map_entry(file, math.prod(shape))
        if found is not None and found.shape == shape and found.dtype == np.uint8:
            return found
        if not attempt:
            _write_sealed(file, lambda stream: write_blocks(stream, shape, render()))
    return np.concatenate(list(render()))


def compute_once(key: str, names: tuple[str, ...], most: int, compute: Callable[[], Arrays]) -> Arrays:
    """Compute arrays with these `names`, or return those stored under the same key.

    `key` must identify everything that they depend on; no array has more than `most` items. The result is
    read-only memory maps, or what `compute` returned if the cache is not writable.
    """
    folder = cache_folder()
    found = _recall(folder, key, names, most)
    if found is None:
        computed = compute()
        for name in names:
            _write_sealed(_array_file(folder, key, name), partial(np.save, arr=computed[name]))
        found = _recall(folder, key, names, most) or computed
    return found


def _fingerprint(path: Path) -> str:
    """Return a line of text that changes whenever the file changes."""
    status = stat_file(path)
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _settled(path: Path) -> bool:
    """Return whether any later change would alter the modification time of the file.

    File systems usually have a resolution of milliseconds, but some only of two seconds. A file that changed
    within the current tick could change again without a new modification time, so no note is written.
    """
    changed = stat_file(path).st_mtime_ns
    tick = 2_000_000_000 if changed % 1_000_000_000 == 0 else 50_000_000
    return abs(time.time_ns() - changed) > tick


def _recall_content(note: Path, fingerprint: str) -> str | None:
    """Return the recorded SHA-256 of a file if its fingerprint is unchanged."""
    content = read_head(note)
    payload, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    match = re.fullmatch(rb"(.*)\n([0-9a-f]{64})\n", payload)
    same = match is not None and match[1] == fingerprint.encode() and seal == _seal(note, payload)
    return match[2].decode() if match and same else None


def _recall(folder: Path, key: str, names: tuple[str, ...], most: int) -> Arrays | None:
    """Return cached arrays as read-only memory maps, or None if any of them is missing or damaged."""
    arrays = {}
    for name in names:
        array = _map_entry(_array_file(folder, key, name), most)
        if array is None:
            return None
        arrays[name] = array
    return arrays


def _array_file(folder: Path, key: str, name: str) -> Path:
    return folder / f"{key}-{name}.npy"


def _map_entry(file: Path, most: int) -> npt.NDArray[Any] | None:
    """Map an array of at most `most` items; return None if the file is missing, damaged or foreign."""
    try:
        with open(file, "rb", opener=open_plain) as stream:
            status = os.fstat(stream.fileno())
            header = _HEADER.match(stream.read(_HEADER_BYTES))
            if header is None or not stat.S_ISREG(status.st_mode):
                return None
            dtype, shape = np.dtype(header[2].decode()), tuple(map(int, filter(None, header.groups()[2:])))
            end = header.end() + math.prod(shape) * dtype.itemsize
            # Check the length first, because a checksum of terabytes of zeros would take an hour.
            whole = header.end() == 10 + int.from_bytes(header[1], "little")
            if not whole or math.prod(shape) > most or status.st_size != end + _SEAL_BYTES:
                return None
            stream.seek(end)
            seal = stream.read()
            array = np.memmap(stream, dtype, "r", header.end(), shape)
    except (OSError, ValueError, TypeError, InputError):
        return None
    whole = seal == _seal(file, header[0], array.data)
    give_back(array)
    return array if whole else None


def _write_sealed(file: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a cache file atomically; other processes never see an incomplete file."""
    try:
        check_replaceable(file, lambda head: re.match(_ENTRY, head) is not None)
    except (OSError, InputError):  # The path is occupied by one of the user's files.
        return
    with contextlib.suppress(OSError):  # If the disk is full or read-only, the next load parses again.
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file, lasting=False) as stream:
            write(stream)
            stream.flush()
            stream.write(_seal(file, np.memmap(stream, np.uint8, mode="r").data))


def _seal(file: Path, *parts: bytes | memoryview) -> bytes:
    """Return the CRC-32 of a file's name and bytes, which is fast and detects accidental damage."""
    state = zlib.crc32(file.name.encode())
    for part in parts:
        state = zlib.crc32(part, state)
    return state.to_bytes(_SEAL_BYTES, "little")


@lru_cache
def code_digest(*modules: str) -> str:
    """Compute a digest of modules and of everything they import from this package, directly or indirectly.

    The digest covers the compiled code without imports. Comments, docstrings, line layout and file location
    do not change it. Imports inside functions are also followed.
    """
    digests = []
    for code in _reached(modules).values():
        state = hashlib.sha256()
        for part in _parts(code):
            state.update(part)
        digests.append(state.hexdigest())
    return hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()


def _reached(modules: Iterable[str]) -> dict[Path, CodeType]:
    """Compile modules and their imports, each without import statements and docstrings."""
    found: dict[Path, CodeType] = {}
    waiting = [_file_of(module) for module in modules]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in found:
            tree = ast.parse(path.read_bytes())
            waiting += [_file_of(name) for name in take_imports(tree)]
            found[path] = compile(tree, "", "exec", dont_inherit=True, optimize=2)
    return found


def _file_of(module: str) -> Path | None:
    """Return the file of a module in this package; None for any other module."""
    package, *parts = module.split(".")
    path = _PACKAGE.joinpath(*parts).with_suffix(".py")
    return path if package == _PACKAGE.name and parts and path.is_file() else None


def take_imports(tree: ast.AST) -> list[str]:
    """Remove the import statements from a tree and return all names in them that may refer to modules.

    Relative imports are removed, but not returned.
    """
    names = []
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        statements = getattr(tree, field, None)
        if not isinstance(statements, list):
            continue
        for position, statement in enumerate(statements):
            if isinstance(statement, ast.ImportFrom):
                if statement.module and not statement.level:
                    names += [statement.module]
                    names += [f"{statement.module}.{alias.name}" for alias in statement.names]
            elif isinstance(statement, ast.Import):
                names += [alias.name for alias in statement.names]
            else:
                names += take_imports(statement)
                continue
            statements[position] = ast.copy_location(ast.Pass(), statement)
    return names


def _parts(code: CodeType) -> Iterator[bytes]:
    """Yield the instructions, names and constants of a code object, without line numbers and file names."""
    yield code.co_code
    yield code.co_exceptiontable
    yield repr((code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)
        elif isinstance(constant, frozenset):  # Its order varies between processes.
            yield repr(sorted(map(repr, constant))).encode()
        else:
            yield repr(constant).encode()
