"""Lessons: scripts of cells in the percent format, and the outputs of running each in its own process.

``# %%`` starts a code cell, ``# %% [markdown]`` a text cell in ``# `` comments, and
``# %% tags=["solution"]`` a code cell that solves an exercise. VS Code, Spyder and Jupytext also support this
format. A parser for it takes forty lines; Jupytext would add the notebook format and parsers for YAML and
TOML.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from skinmnist.datasets.files import shipped
from skinmnist.errors import InputError
from skinmnist.experiment.execution.machine import ONE_THREAD
from skinmnist.teaching.notebook_api import Claim, Output, Recorder, ShownFigure, recording

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

Kind = Literal["markdown", "code", "solution"]

#: One thread for each lesson, as in a comparison's workers. Numerical libraries read these variables when
#: they are loaded, so a new process, or the server from which it is forked, must inherit them.
_ENVIRONMENT = {
    **ONE_THREAD,
    "MPLBACKEND": "Agg",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
#: What most lessons import, in two seconds.
_SHARED = (
    "imblearn.over_sampling",
    "sklearn.linear_model",
    "skinmnist.experiment.splits",
    "skinmnist.features.extract",
    "skinmnist.teaching.notebook_api",
)
#: Characters of the temporary folder that leave room for the name of a socket in it, of 108 in all.
_LONGEST_FOLDER = 70
#: The lessons that ship with skinmnist.
FOLDER = shipped("lessons")
_MARK = "# %%"
_FILE = re.compile(r"(\d\d)_[a-z0-9_]+\.py")


@dataclass(frozen=True)
class Cell:
    """A cell: its source without the mark, and the line of the script (from 1) on which the source begins."""

    kind: Kind
    source: str
    line: int


@dataclass(frozen=True)
class Lesson:
    """A lesson, as read from its script."""

    number: int
    #: The file name without ``.py``: ``"02_oversampling_leak"``.
    slug: str
    path: Path
    #: The heading of the first cell without its number, and the paragraph below it.
    title: str
    question: str
    cells: tuple[Cell, ...]


def find_lessons(folder: Path = FOLDER, numbers: list[int] | None = None) -> list[Lesson]:
    """Read all lessons in a folder, or those with the given numbers; raise InputError if one is missing."""
    paths = {int(match[1]): path for path in folder.glob("*.py") if (match := _FILE.fullmatch(path.name))}
    if not paths:
        raise InputError(
            f"found no lessons in {folder}; expected scripts such as 01_name.py, so install skinmnist again"
        )
    wanted = sorted(paths) if not numbers else list(dict.fromkeys(numbers))
    for number in wanted:
        if number not in paths:
            raise InputError(
                f"received lesson {number}; expected {min(paths)} to {max(paths)}, so name one of these"
            )
    return [read_lesson(paths[number]) for number in wanted]


def read_lesson(path: Path) -> Lesson:
    """Read one script; raise InputError if its name or its first cell is not that of a lesson."""
    cells = parse_cells(path.read_text(encoding="utf-8"))
    named = _FILE.fullmatch(path.name)
    opening = re.match(r"# \d+\. ([^\n]+)\n\n(.+?)(\n\n|\Z)", cells[0].source if cells else "", re.DOTALL)
    if named is None or opening is None or cells[0].kind != "markdown":
        raise InputError(
            f"{path} is not a lesson; expected a name such as 01_name.py, and a first cell of text that "
            "begins with '# 1. Title' and a question below it"
        )
    question = " ".join(opening[2].split())
    return Lesson(int(named[1]), path.stem, path, opening[1], question, tuple(cells))


def parse_cells(text: str) -> list[Cell]:
    """Split a script into cells; lines before the first mark are ignored."""
    cells: list[Cell] = []
    lines = text.splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith(_MARK)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        mark, body = lines[start], lines[start + 1 : end]
        kind: Kind = "markdown" if "[markdown]" in mark else "solution" if '"solution"' in mark else "code"
        if kind == "markdown":
            body = [re.sub(r"^# ?", "", line) for line in body]
        leading = next((place for place, line in enumerate(body) if line.strip()), len(body))
        source = "\n".join(body[leading:]).rstrip()
        if source:
            cells.append(Cell(kind, source, start + leading + 2))
    return cells


@dataclass(frozen=True)
class LessonRun:
    """The results of running a lesson."""

    lesson: Lesson
    #: The outputs of each cell, up to the first that failed.
    outputs: tuple[tuple[Output, ...], ...]
    #: The lesson's answer in one sentence, and the name of its table.
    finding: str
    table: str
    #: The failing line and its error; empty if the lesson ran to the end.
    failure: str
    #: Wall time from the first cell to the last, and CPU time of its process.
    seconds: float
    core_seconds: float

    @property
    def claims(self) -> list[Claim]:
        """The claims of the lesson, in order."""
        return [shown for cell in self.outputs for shown in cell if isinstance(shown, Claim)]

    @property
    def cover(self) -> ShownFigure | None:
        """The picture of the lesson: its cover figure, else the first figure."""
        figures = [shown for cell in self.outputs for shown in cell if isinstance(shown, ShownFigure)]
        return next((figure for figure in figures if figure.cover), figures[0] if figures else None)


def run_lessons(lessons: Sequence[Lesson], jobs: int, seed: int = 0) -> Iterator[LessonRun]:
    """Run lessons in separate processes, `jobs` at a time, and yield each when it finishes."""
    with _environment_of_lessons(), ThreadPoolExecutor(min(jobs, len(lessons))) as pool:
        for done in as_completed([pool.submit(_run_apart, lesson, seed) for lesson in lessons]):
            yield done.result()


@contextmanager
def _environment_of_lessons() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _run_apart(lesson: Lesson, seed: int) -> LessonRun:
    """Run a lesson in a new process, and report a failure if the process dies."""
    context = _fresh_processes()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(lesson, seed, dict(os.environ), sender))
    process.start()
    sender.close()
    try:
        run: LessonRun = receiver.recv()
    except EOFError:
        failure = f"{lesson.path.name}: its process died (a crash, or out of memory)"
        run = LessonRun(lesson, (), "", "", failure, 0.0, 0.0)
    process.join()
    return run


def _fresh_processes() -> ForkServerContext | SpawnContext:
    """Return the context of processes that inherit no settings of other lessons, and no TensorFlow.

    On Linux, they are forked from a server that has imported what lessons share. Elsewhere, a fork may crash
    in libraries of the system; and the path of the server's socket must be short.
    """
    if sys.platform != "linux" or len(tempfile.gettempdir()) > _LONGEST_FOLDER:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_SHARED])
    return context


def _work(lesson: Lesson, seed: int, environment: dict[str, str], sender: Connection) -> None:
    # The server may have started earlier, with another environment.
    os.environ.clear()
    os.environ.update(environment)
    sender.send(run_lesson(lesson, seed))


def run_lesson(lesson: Lesson, seed: int = 0) -> LessonRun:
    """Run the cells of a lesson in this process, in one namespace, up to the first failure."""
    recorder, failure = Recorder(seed), ""
    namespace = {"__name__": "__main__", "__file__": str(lesson.path)}
    started = time.perf_counter()
    with recording(recorder):
        for cell in lesson.cells:
            recorder.outputs.append([])
            if cell.kind == "markdown":
                continue
            try:
                # Prepend blank lines so that errors refer to lines of the script.
                code = compile("\n" * (cell.line - 1) + cell.source, str(lesson.path), "exec")
                exec(code, namespace)
            except Exception as error:  # A lesson under development may raise anything.
                failure = _where(error, lesson)
                break
    return LessonRun(
        lesson=lesson,
        outputs=tuple(tuple(shown) for shown in recorder.outputs),
        finding=recorder.finding,
        table=recorder.table,
        failure=failure,
        seconds=time.perf_counter() - started,
        core_seconds=time.process_time(),
    )


def _where(error: Exception, lesson: Lesson) -> str:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(lesson.path)
    ]
    place = f"line {lines[-1]}" if lines else "its syntax"
    return f"{lesson.path.name}, {place}: {type(error).__name__}: {error}"
