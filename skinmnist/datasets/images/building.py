"""Build pixel tables from pictures with parallel reading, resumption if interrupted, and atomic writes."""

from __future__ import annotations

import csv
import hashlib
import io
import signal
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
from joblib.externals.loky import get_reusable_executor
from PIL import __version__ as pillow_version

from skinmnist.datasets.classes_file import about_content, about_file, read_about
from skinmnist.datasets.csv_table import LABEL
from skinmnist.datasets.files import (
    check_replaceable,
    check_type,
    hash_file,
    open_plain,
    read_head,
    write_atomically,
    written_whole,
)
from skinmnist.datasets.images.folders import Pictures, listed
from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.text import guarded_cell, shown

Shape = tuple[int, int, int]

#: Side lengths and modes of the tables in the Kaggle collection.
KAGGLE_SIDES, KAGGLE_MODES = (8, 28), {"L": 1, "RGB": 3}
_DECIMALS = [str(level).encode() for level in range(256)]

#: Number of pictures sent to a worker at a time.
_CHUNK = 64
#: Number of chunks queued per worker; a small number bounds memory use for large tables.
_AHEAD = 3
_IDLE_SECONDS = 10
#: Result for a picture: the bytes of its rows, or the reason why it could not be read.
Outcome = bytes | str
#: First bytes of every progress file, which distinguish it from the user's files.
_MARK = b"skinmnist build\n"
_ROW, _REASON = b"\x01", b"\x02"
_LENGTH_BYTES = _SEAL_BYTES = 4


@dataclass(frozen=True)
class Target:
    """A table to write."""

    path: Path  # The CSV file; its metadata and class names are written to the same folder
    shape: Shape  # ``(height, width, channels)``; 1 channel for grey, 3 channels for RGB

    @property
    def pixels(self) -> int:
        """Number of pixel columns of the table."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Built:
    """Files written and pictures skipped by a finished build."""

    targets: tuple[Target, ...]
    rows_per_class: dict[str, int]
    bad: tuple[tuple[Path, str], ...]  # Skipped pictures and the reason for each


class Progress(Protocol):
    """Callbacks of a build."""

    def started(self, total: int, stored: int) -> None:
        """Receive the total number of pictures, and the number already read by an interrupted build."""

    def advanced(self, done: int) -> None:
        """Receive the number of pictures that have been read."""


def kaggle_targets(folder: Path) -> list[Target]:
    """Return the four tables of the Kaggle collection, such as ``hmnist_8_8_L.csv``."""
    return [
        Target(folder / f"hmnist_{side}_{side}_{mode}.csv", (side, side, channels))
        for side in KAGGLE_SIDES
        for mode, channels in KAGGLE_MODES.items()
    ]


def build_tables(
    pictures: Pictures,
    targets: Sequence[Target],
    *,
    jobs: int = 1,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Write pixel tables of the same pictures, each with its metadata and class names in the same folder.

    Each picture is opened once for all tables, in `jobs` processes; the result does not depend on their
    number. Rows are collected in ``<first table>.part``, from which the same call resumes an interrupted
    build, and the tables are created only once they are complete. Unreadable pictures raise an error unless
    `skip_bad` is set. Existing tables and metadata also raise an error, unless they were written by an
    earlier build and are unchanged.
    """
    for target in targets:
        _check_target(target.path)
    progress_file = ProgressFile(
        targets[0].path.with_name(targets[0].path.name + ".part"), _digest(pictures, targets)
    )
    with progress_file:
        if progress:
            progress.started(len(pictures), progress_file.count)
        missing = pictures.paths[progress_file.count :]
        with closing(read_pictures(missing, [target.shape for target in targets], jobs)) as chunks:
            for chunk in chunks:
                for outcome in chunk:
                    progress_file.append(outcome)
                progress_file.flush()
                if progress:
                    progress.advanced(progress_file.count)
    reasons = {
        row: outcome for row, outcome in enumerate(progress_file.outcomes()) if isinstance(outcome, str)
    }
    bad = tuple((pictures.paths[row], reason) for row, reason in reasons.items())
    if bad and not skip_bad:
        raise InputError(_refusal(bad))
    whole = np.setdiff1d(np.arange(len(pictures)), list(reasons))
    counts = np.bincount(pictures.labels[whole], minlength=len(pictures.class_names)).tolist()
    rows_per_class = dict(zip(pictures.class_names, counts, strict=True))
    lost = [name for name, count in rows_per_class.items() if not count]
    if lost:
        raise InputError(
            f"no picture of the class {lost[0]!r} can be read; expected at least one per class, so fix them "
            "or remove the class"
        )
    _write_tables(pictures, targets, whole.tolist(), progress_file)
    progress_file.path.unlink()
    return Built(tuple(targets), rows_per_class, bad)


def export_table(table: PixelTable, path: Path) -> Built:
    """Write a table in any layout as a pixel CSV, together with its metadata, class names and split.

    A predefined split is written to ``<table stem>_split.csv`` for use with ``compare --split``. Raises
    InputError if this would replace an existing table that skinmnist did not build.
    """
    _check_target(path)
    target = Target(path, table.shape)
    ids = table.image_ids if table.image_ids is not None else np.arange(len(table)).astype(str)
    lesions = table.lesion_ids if table.lesion_ids is not None else np.full(len(table), "")
    names = np.array(table.class_names)[table.labels]
    own = {"lesion_id": lesions, "image_id": ids, "dx": names}
    described = {**own, **(table.clinical or {}), **table.sources}
    metadata = _csv([described, *zip(*map(_cells, described.values()), strict=True)])
    _check_metadata(_metadata_file(path), path, metadata)
    split = b"" if table.parts is None else _csv([("image_id", "split"), *zip(ids, table.parts, strict=True)])
    if split and (there := split_file(path)).exists() and there.read_bytes() != split:
        raise InputError(f"{there} exists with other content; move it away, or name another table")
    digest = hashlib.sha256()
    with ExitStack() as stack:
        stream = stack.enter_context(written_whole(path))
        stack.enter_context(written_whole(_metadata_file(path))).write(metadata)
        about = stack.enter_context(written_whole(about_file(path)))
        if split:
            stack.enter_context(written_whole(split_file(path))).write(split)
        lines = (
            _line(row.tobytes(), int(label)) for row, label in zip(table.pixels, table.labels, strict=True)
        )
        for line in chain([_header(target.pixels)], lines):
            stream.write(line)
            digest.update(line)
        about.write(about_content(table.class_names, table.shape, metadata, digest.hexdigest()))
    counts = dict(zip(table.class_names, table.class_counts.tolist(), strict=True))
    return Built((target,), counts, ())


def split_file(table: Path) -> Path:
    """Return the path of the split of an exported table: ``<table stem>_split.csv`` in the same folder."""
    return table.with_name(f"{table.stem}_split.csv")


def _check_target(table: Path) -> None:
    """Raise an error if a table, metadata or class names exist that no earlier build wrote."""
    for path in (table, _metadata_file(table), about_file(table)):
        check_type(path)
    built = _built_metadata(table) is not None
    for path in (table, about_file(table)):
        if path.exists() and not built:
            raise InputError(
                f"{path} exists and was not made by skinmnist.build; expected a new name, so name "
                "another table, or move the file away"
            )
    about = read_about(table)
    if about and about.table_sha256 and table.exists() and hash_file(table) != about.table_sha256:
        raise InputError(
            f"{table} has changed since skinmnist.build wrote it; expected an unmodified table, "
            "so name another one, or move it away"
        )


def _metadata_file(table: Path) -> Path:
    return table.with_name(f"{table.stem}_metadata.csv")


def _built_metadata(table: Path) -> str | None:
    """Return the SHA-256 of the metadata that a build wrote with a table, or None if unknown."""
    about = read_about(table)
    return None if about is None else about.metadata_sha256


def _check_metadata(path: Path, table: Path, metadata: bytes) -> None:
    """Raise an error if existing metadata come from another source or contain manually added lesion ids."""
    if not path.exists():
        return
    there = path.read_bytes()
    if there != metadata and hashlib.sha256(there).hexdigest() != _built_metadata(table):
        raise InputError(
            f"{path} has content that skinmnist.build did not write, such as lesion ids added by hand, and "
            "would be replaced; move it away, or name another table"
        )


def _refusal(bad: Sequence[tuple[Path, str]]) -> str:
    return (
        f"{len(bad):,} of the pictures cannot be read: {listed([path for path, _ in bad])} (the first: "
        f"{bad[0][1]}); expected complete pictures, so fix them, or skip them with --skip-bad"
    )


def _digest(pictures: Pictures, targets: Sequence[Target]) -> bytes:
    """Return a digest of the picture files and the table shapes."""
    state = hashlib.sha256(repr(([target.shape for target in targets], pillow_version)).encode())
    for path in pictures.paths:
        status = path.stat()
        state.update(repr((str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns)).encode())
    return state.digest()


def _write_tables(
    pictures: Pictures, targets: Sequence[Target], written: Sequence[int], progress_file: ProgressFile
) -> None:
    """Write all files under temporary names, then rename them, with the tables last."""
    metadata = _metadata_content(pictures, written)
    beside = [_metadata_file(target.path) for target in targets]
    for path, target in zip(beside, targets, strict=True):
        _check_metadata(path, target.path, metadata)
    with ExitStack() as stack:
        streams = [stack.enter_context(written_whole(target.path)) for target in targets]
        abouts = []
        for path, target in zip(beside, targets, strict=True):
            stack.enter_context(written_whole(path)).write(metadata)
            abouts.append(stack.enter_context(written_whole(about_file(target.path))))
        digests = [hashlib.sha256() for _ in targets]
        for stream, digest, target in zip(streams, digests, targets, strict=True):
            stream.write(header := _header(target.pixels))
            digest.update(header)
        labels = pictures.labels[list(written)]
        rows = (outcome for outcome in progress_file.outcomes() if isinstance(outcome, bytes))
        for label, row in zip(labels.tolist(), rows, strict=True):
            start = 0
            for stream, digest, target in zip(streams, digests, targets, strict=True):
                stream.write(line := _line(row[start : start + target.pixels], label))
                digest.update(line)
                start += target.pixels
        for about, digest, target in zip(abouts, digests, targets, strict=True):
            about.write(about_content(pictures.class_names, target.shape, metadata, digest.hexdigest()))


def _header(pixels: int) -> bytes:
    digits = max(4, len(str(pixels - 1)))
    return ",".join([*(f"pixel{number:0{digits}d}" for number in range(pixels)), LABEL]).encode() + b"\n"


def _line(row: bytes, label: int) -> bytes:
    return b",".join(map(_DECIMALS.__getitem__, row)) + b",%d\n" % label


def _metadata_content(pictures: Pictures, written: Sequence[int]) -> bytes:
    """Return the metadata of the written rows with all columns, and with formulas escaped."""
    return _csv([pictures.header, *(pictures.rows[row] for row in written)])


def _cells(values: npt.NDArray[Any]) -> list[str]:
    """Return the cells of a column; an unknown number becomes an empty cell."""
    return ["" if value != value else str(value) for value in values.tolist()]


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(guarded_cell, cells) for cells in rows)
    return text.getvalue().encode()


def read_pictures(paths: Sequence[Path], shapes: Sequence[Shape], jobs: int) -> Generator[list[Outcome]]:
    """Read pictures and yield, in order, the bytes of their rows (one per shape) or the reason for failure.

    With `jobs=1`, pictures are read in this process. Otherwise, processes are used instead of threads,
    because opening a picture holds a lock.
    """
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    if jobs == 1 or len(chunks) < 2:
        yield from (_read_chunk(chunk, shapes) for chunk in chunks)
        return
    executor = get_reusable_executor(max_workers=jobs, timeout=_IDLE_SECONDS, initializer=_ignore_interrupts)
    waiting: deque[tuple[Sequence[Path], Future[list[Outcome]]]] = deque()
    try:
        for chunk in chunks:
            waiting.append((chunk, executor.submit(_read_chunk, chunk, shapes)))
            if len(waiting) > _AHEAD * jobs:
                yield waiting.popleft()[1].result()
        while waiting:
            yield waiting.popleft()[1].result()
    except BrokenProcessPool:
        raise InputError(
            f"the process that read pictures from about {chunk[0]} on crashed or ran out of memory; "
            "try --jobs 1, or move the large ones away"
        ) from None
    finally:
        # After an early stop, running chunks finish quickly and queued chunks are cancelled.
        for _, future in waiting:
            future.cancel()


def _ignore_interrupts() -> None:
    # Ctrl-C is sent to the whole process group, but only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_chunk(paths: Sequence[Path], shapes: Sequence[Shape]) -> list[Outcome]:
    return [_read(path, shapes) for path in paths]


def _read(path: Path, shapes: Sequence[Shape]) -> Outcome:
    try:
        image = open_picture(path)
    except InputError as error:
        return str(error).removeprefix(f"picture {shown(path.name)}: ")
    return b"".join(picture_row(image, shape).tobytes() for shape in shapes)


class ProgressFile:
    """A file with one record per picture, in order, which allows an interrupted build to resume.

    The file starts with a signature and the digest of the build; a file with another digest is overwritten. A
    record consists of a marker, the length of its contents, the rows or the reason for failure, and a
    checksum of its position and bytes, which detects records that are incomplete after a crash.
    """

    _stream: BinaryIO

    def __init__(self, path: Path, digest: bytes) -> None:
        self.path = path
        self._head = _MARK + digest
        #: Number of pictures that have been read.
        self.count = 0

    def __enter__(self) -> ProgressFile:
        """Open the file for appending after its last complete record."""
        check_replaceable(self.path, lambda head: head.startswith(_MARK) or _MARK.startswith(head))
        if not self._fits():
            write_atomically(self.path, self._head)
        end = len(self._head)
        for outcome in self.outcomes():
            self.count += 1
            end += len(_framed(outcome)) + _SEAL_BYTES
        self._stream = open(self.path, "r+b", opener=open_plain)
        self._stream.truncate(end)
        self._stream.seek(end)
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def append(self, outcome: Outcome) -> None:
        """Append the result of the next picture."""
        framed = _framed(outcome)
        self._stream.write(framed + _seal(self.count, framed))
        self.count += 1

    def flush(self) -> None:
        """Pass the records to the operating system, which keeps them if this process is killed."""
        self._stream.flush()

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the result of each picture, up to the first incomplete record."""
        if not self._fits():
            return
        with self.path.open("rb") as stream:
            stream.seek(len(self._head))
            number = 0
            while True:
                head = stream.read(1 + _LENGTH_BYTES)
                length = int.from_bytes(head[1:], "little")
                payload, seal = stream.read(length), stream.read(_SEAL_BYTES)
                if len(seal) < _SEAL_BYTES or seal != _seal(number, head + payload):
                    return
                yield payload if head[:1] == _ROW else payload.decode()
                number += 1

    def _fits(self) -> bool:
        return read_head(self.path).startswith(self._head)


def _framed(outcome: Outcome) -> bytes:
    mark, payload = (_REASON, outcome.encode()) if isinstance(outcome, str) else (_ROW, outcome)
    return mark + len(payload).to_bytes(_LENGTH_BYTES, "little") + payload


def _seal(number: int, framed: bytes) -> bytes:
    # Include the position, counted from 1; otherwise, a sequence of zeros would be a valid record.
    return zlib.crc32(framed, number + 1 & 0xFFFFFFFF).to_bytes(_SEAL_BYTES, "little")
