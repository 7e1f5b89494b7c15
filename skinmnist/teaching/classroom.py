"""Class materials: prediction sheets, slides that follow the teacher's plan, and an answer key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skinmnist.datasets.table import PixelTable
from skinmnist.teaching.exam import Answer, Question
from skinmnist.teaching.lesson import Cell, Lesson, LessonRun

#: Heading of the cell in which a lesson asks for a prediction; the experiment follows it.
PREDICT = "## Predict"
#: Headings of cells on the consequences of a finding; slides show them after it.
_CONSEQUENCES = (
    "## Which number answers which question",
    "## What to do instead",
    "## What follows",
    "## What it means in the clinic",
)
#: A row of the plan: minutes, activity, and the lesson, which may be a link.
_ROW = re.compile(r"\| *(\d+–\d+) *\| *(.+?) *\| *(?:\[?(\d+)[^|]*)?\|")
_HEADING = re.compile(r"## +(.+)")


@dataclass(frozen=True)
class Step:
    """A line in the teacher's plan."""

    minutes: str
    what: str
    #: The number of its lesson, or None.
    lesson: int | None


@dataclass(frozen=True)
class Session:
    """A session in the teacher's plan, such as the first 45 minutes."""

    title: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Slide:
    """A slide: its layout, its contents, and its line in the plan."""

    kind: Literal["session", "activity", "question", "prediction", "finding", "consequence"]
    title: str
    text: str = ""
    minutes: str = ""
    run: LessonRun | None = None


def split_at_prediction(lesson: Lesson) -> int:
    """Return the number of cells before the experiment; all cells if the lesson asks for no prediction."""
    cells = enumerate(lesson.cells, start=1)
    return next((place for place, cell in cells if _begins(cell, PREDICT)), len(lesson.cells))


def prediction_text(lesson: Lesson) -> str:
    """Return the prediction task of a lesson as Markdown, without the quotation marks ``>``."""
    asked = next((cell.source for cell in lesson.cells if _begins(cell, PREDICT)), "")
    return "\n".join(re.sub(r"^> ?", "", line) for line in asked.splitlines()[1:]).strip()


def read_plan(teacher: str) -> list[Session]:
    """Return the sessions on the teacher's page: headings of tables with minutes, and the tables' rows."""
    sessions: list[tuple[str, list[Step]]] = []
    title = ""
    for line in teacher.splitlines():
        if heading := _HEADING.fullmatch(line):
            title = heading[1]
        elif row := _ROW.fullmatch(line.strip()):
            if not sessions or sessions[-1][0] != title:
                sessions.append((title, []))
            sessions[-1][1].append(Step(row[1], row[2], int(row[3]) if row[3] else None))
    return [Session(name, tuple(steps)) for name, steps in sessions]


def make_slides(runs: Sequence[LessonRun], teacher: str) -> list[Slide]:
    """Return the slides of a class in the order of the teacher's plan, or, without a plan, of the lessons.

    The prediction has its own slide, before the finding. Lessons that were not run are omitted.
    """
    known = {run.lesson.number: run for run in runs}
    every = tuple(Step("", "", number) for number in known)
    slides = []
    for session in read_plan(teacher) or [Session("Lessons", every)]:
        slides.append(Slide("session", session.title))
        for step in session.steps:
            if step.lesson is None:
                slides.append(Slide("activity", step.what, minutes=step.minutes))
            elif step.lesson in known:
                slides += _lesson_slides(known[step.lesson], step)
    return slides


def _lesson_slides(run: LessonRun, step: Step) -> list[Slide]:
    lesson = run.lesson
    slides = [Slide("question", lesson.title, lesson.question, step.minutes, run)]
    if asked := prediction_text(lesson):
        slides.append(Slide("prediction", "Predict", asked, step.minutes, run))
    slides.append(Slide("finding", lesson.title, run.finding or run.failure, step.minutes, run))
    for cell in lesson.cells:
        if any(_begins(cell, heading) for heading in _CONSEQUENCES):
            heading, _, text = cell.source.partition("\n")
            slides.append(Slide("consequence", heading.removeprefix("## "), text.strip(), step.minutes, run))
    return slides


def answer_key(questions: Sequence[Question], table: PixelTable) -> list[dict[str, Any]]:
    """Return the correct answers of the exam on its table, with common wrong answers and their causes."""
    return [
        {
            "question": question,
            "answer": _written(question.answer(table)),
            "slips": [(_written(slip.answer(table)), slip.hint) for slip in question.slips],
        }
        for question in questions
    ]


def _written(answer: Answer) -> str:
    return answer if isinstance(answer, str) else f"{answer:.4g}"


def _begins(cell: Cell, heading: str) -> bool:
    return cell.kind == "markdown" and cell.source.partition("\n")[0] == heading
