"""Pictures into rows, side by side in worker processes and handed back in order."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from joblib.externals.loky import get_reusable_executor

from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.datasets.images.progress_file import Outcome
from skinmnist.errors import InputError
from skinmnist.text import shown

Shape = tuple[int, int, int]

#: Pictures that travel to a worker together.
_CHUNK = 64
#: Chunks that wait for each worker: few, so that memory does not grow with the table.
_AHEAD = 3
_IDLE_SECONDS = 10


def read_pictures(paths: Sequence[Path], shapes: Sequence[Shape], jobs: int) -> Generator[list[Outcome]]:
    """Read pictures and yield their rows, some pictures at a time and in order.

    Parameters
    ----------
    paths : sequence of Path
    shapes : sequence of (height, width, channels)
        One row is made for each of them from the same opened picture.
    jobs : int
        Worker processes; 1 reads in this process. Opening a picture holds a lock, so threads gain nothing.

    Yields
    ------
    list of bytes or str
        For each picture the bytes of its rows one behind the other, or the reason why it cannot be read.

    Raises
    ------
    InputError
        Where a picture ends the process that reads it.
    """
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    if jobs == 1 or len(chunks) < 2:
        yield from (_read_chunk(chunk, shapes) for chunk in chunks)
        return
    executor = get_reusable_executor(max_workers=jobs, timeout=_IDLE_SECONDS, initializer=_leave_signals)
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
            f"a picture from about {chunk[0]} on ended the process that read it (a crash, or out of memory); "
            "try --jobs 1, or move the large ones away"
        ) from None
    finally:
        # Whoever stops early leaves chunks behind: those that have begun are small, the others never begin.
        for _, future in waiting:
            future.cancel()


def _leave_signals() -> None:
    # Ctrl-C reaches the whole group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_chunk(paths: Sequence[Path], shapes: Sequence[Shape]) -> list[Outcome]:
    return [_read(path, shapes) for path in paths]


def _read(path: Path, shapes: Sequence[Shape]) -> Outcome:
    try:
        image = open_picture(path)
    except InputError as error:
        return str(error).removeprefix(f"picture {shown(path.name)}: ")
    return b"".join(picture_row(image, shape).tobytes() for shape in shapes)
