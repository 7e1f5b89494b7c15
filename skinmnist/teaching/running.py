"""Lessons run cell by cell, each in a process of its own, and what they showed."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import Connection

from skinmnist.teaching.recording import Claim, Drawn, Output, Recorder, recording
from skinmnist.teaching.script import Lesson

#: As in a comparison's workers: one thread for each lesson. Read when a numerical library starts.
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MPLBACKEND": "Agg",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class LessonRun:
    """A lesson and what came of it.

    Attributes
    ----------
    lesson : Lesson
    outputs : tuple of tuple
        What each cell showed; fewer than there are cells where one failed.
    finding : str
        The lesson's answer in one sentence.
    table : str
        What it worked on.
    failure : str
        The line and the error where it stopped; empty where it ran to its end.
    seconds, core_seconds : float
        From its first cell to its last; processor time of the whole process, its start included.
    """

    lesson: Lesson
    outputs: tuple[tuple[Output, ...], ...]
    finding: str
    table: str
    failure: str
    seconds: float
    core_seconds: float

    @property
    def claims(self) -> list[Claim]:
        """What the lesson held to, in order."""
        return [shown for cell in self.outputs for shown in cell if isinstance(shown, Claim)]

    @property
    def cover(self) -> Drawn | None:
        """The figure that stands for the lesson: the one that says so, else the first."""
        drawn = [shown for cell in self.outputs for shown in cell if isinstance(shown, Drawn)]
        return next((figure for figure in drawn if figure.cover), drawn[0] if drawn else None)


def run_lessons(lessons: Sequence[Lesson], jobs: int) -> Iterator[LessonRun]:
    """Run lessons side by side and yield each as it is done.

    Parameters
    ----------
    lessons : sequence of Lesson
    jobs : int
        Processes at a time. A process runs one lesson: nothing of one can leak into another.
    """
    with ThreadPoolExecutor(min(jobs, len(lessons))) as pool:
        for done in as_completed([pool.submit(_run_apart, lesson) for lesson in lessons]):
            yield done.result()


def _run_apart(lesson: Lesson) -> LessonRun:
    """Run a lesson in a fresh process; where that one dies, say so."""
    # Spawned: a fork would inherit what other lessons have set, and TensorFlow does not survive one.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(lesson, sender))
    process.start()
    sender.close()
    try:
        run: LessonRun = receiver.recv()
    except EOFError:
        failure = f"{lesson.path.name}: its process died (a crash, or out of memory)"
        run = LessonRun(lesson, (), "", "", failure, 0.0, 0.0)
    process.join()
    return run


def _work(lesson: Lesson, sender: Connection) -> None:
    os.environ.update(_ENVIRONMENT)
    sender.send(run_lesson(lesson))


def run_lesson(lesson: Lesson) -> LessonRun:
    """Run the cells of a lesson in this process, in one namespace, up to the first that fails."""
    recorder, failure = Recorder(), ""
    namespace = {"__name__": "__main__", "__file__": str(lesson.path)}
    started = time.perf_counter()
    with recording(recorder):
        for cell in lesson.cells:
            recorder.outputs.append([])
            if cell.kind == "markdown":
                continue
            try:
                # Blank lines in front, so that an error names the line of the script.
                code = compile("\n" * (cell.line - 1) + cell.source, str(lesson.path), "exec")
                exec(code, namespace)
            except Exception as error:  # A lesson that is being changed may raise anything; say where.
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
