"""The gallery: a page for each lesson, an index, the exam, a handout, slides, and pages for the teacher.

Sphinx-gallery would do much of this, but adds some twenty packages, its own theme, and figures without dark
mode. These pages share the report's style, load no external resources, and work without JavaScript, which
only copies code and turns slides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment
from markdown_it import MarkdownIt
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from skinmnist import facts
from skinmnist.analysis.checks import CHECKS
from skinmnist.datasets.files import Owned, check_ours, claim, is_plain, write_atomically
from skinmnist.datasets.table import PixelTable
from skinmnist.reporting.theme import css_variables
from skinmnist.teaching.exam import Answer, Question, exam_table
from skinmnist.teaching.lesson import FOLDER, Cell, Lesson, LessonRun
from skinmnist.teaching.notebook_api import Claim, Output, Paragraph, Printed, ShownFigure, ShownTable
from skinmnist.text import template_environment

INDEX_FILE, FINDINGS_FILE, TABLE_FILE = "index.html", "findings.json", "lessons.md"
TEACHER_FILE, EXAM_FILE = "teacher.html", "exam.html"
HANDOUT_FILE, SLIDES_FILE, KEY_FILE = "handout.html", "slides.html", "answer_key.html"
NOTEBOOKS, SCRIPTS = "notebooks", "scripts"
_HERE = Path(__file__).parent
_SOLUTION = "<details>\n<summary>Solution</summary>\n\n```python\n{}\n```\n\n</details>"
#: Calls whose code is folded.
_FOLDED = ("figure(", "claim(", "finding(", "say(")
_KINDS: dict[type[Output], str] = {
    Printed: "printed",
    Paragraph: "paragraph",
    ShownFigure: "figure",
    ShownTable: "table",
    Claim: "claim",
}


def check_gallery(folder: Path, lessons: Sequence[Lesson]) -> None:
    """Create the folder of a gallery; raise InputError if it would overwrite the user's files."""
    folder.mkdir(parents=True, exist_ok=True)
    check_ours(folder, _owned(lessons), _is_unmarked_gallery)


def _owned(lessons: Sequence[Lesson]) -> Owned:
    fixed = (INDEX_FILE, TEACHER_FILE, EXAM_FILE, HANDOUT_FILE, SLIDES_FILE, KEY_FILE)
    pages = (*fixed, *(f"{lesson.slug}.html" for lesson in lessons))
    taken_along = [
        name
        for lesson in lessons
        for name in (f"{NOTEBOOKS}/{lesson.slug}.ipynb", f"{SCRIPTS}/{lesson.slug}.py")
    ]
    return Owned("gallery of lessons", (FINDINGS_FILE, TABLE_FILE, *pages, *taken_along))


def _is_unmarked_gallery(folder: Path) -> bool:
    """Return whether the folder is an unmarked gallery of an earlier version, judging by its findings."""
    path = folder / FINDINGS_FILE
    try:
        found = json.loads(path.read_bytes()) if is_plain(path) else None
    except (OSError, ValueError, RecursionError):
        return False
    first = found[0] if isinstance(found, list) and found else None
    return isinstance(first, dict) and first.keys() >= {"lesson", "finding", "claims"}


def write_gallery(
    runs: Sequence[LessonRun], questions: Sequence[Question], folder: Path, teacher: str | None = None
) -> Path:
    """Write the gallery of completed lessons, with the exam; an existing gallery is replaced.

    The teacher's page, in Markdown, is by default the one shipped with the lessons. Returns the path of the
    index page.
    """
    if teacher is None:
        teacher = (FOLDER / "teacher.md").read_text(encoding="utf-8")
    claim(folder, _owned([run.lesson for run in runs]), _is_unmarked_gallery)
    for name in (NOTEBOOKS, SCRIPTS):
        (folder / name).mkdir(exist_ok=True)
    environment = _environment()
    environment.globals |= {
        "runs": runs,
        "table": next((run.table for run in runs if run.table), "no table"),
        "disclaimer": facts.DISCLAIMER,
    }

    pages: dict[str, str] = {}

    def add_page(name: str, template: str, **values: Any) -> None:
        pages[name] = environment.get_template(template).render(values)

    add_page(INDEX_FILE, "index.html", active="index")
    for before, run, after in zip([None, *runs[:-1]], runs, [*runs[1:], None], strict=True):
        slug = run.lesson.slug
        add_page(
            f"{slug}.html",
            "lesson.html",
            run=run,
            active=slug,
            cells=_cells(run),
            opening=split_at_prediction(run.lesson),
            checks=[check for check in CHECKS if check.lesson == slug],
            before=before,
            after=after,
        )
        write_atomically(folder / NOTEBOOKS / f"{slug}.ipynb", to_notebook(run.lesson).encode())
        write_atomically(folder / SCRIPTS / f"{slug}.py", run.lesson.path.read_bytes())
    add_page(TEACHER_FILE, "text.html", active="teacher", text=teacher, title="For the teacher")
    add_page(EXAM_FILE, "exam.html", active="exam", questions=questions)
    asked = {run.lesson.number: prediction_text(run.lesson) for run in runs}
    add_page(HANDOUT_FILE, "handout.html", active="handout", asked=asked)
    add_page(SLIDES_FILE, "slides.html", slides=make_slides(runs, teacher))
    key = answer_key(questions, exam_table()) if questions else []
    add_page(KEY_FILE, "answer_key.html", active="key", key=key)
    for name, page in pages.items():
        write_atomically(folder / name, page.encode())
    write_atomically(folder / FINDINGS_FILE, (json.dumps(lesson_findings(runs), indent=1) + "\n").encode())
    write_atomically(folder / TABLE_FILE, lesson_table(runs).encode())
    return folder / INDEX_FILE


def lesson_findings(runs: Sequence[LessonRun]) -> list[dict[str, Any]]:
    """Return the findings of the lessons as plain values for JSON."""
    return [
        {
            "lesson": run.lesson.slug,
            "table": run.table,
            "finding": run.finding,
            "failure": run.failure,
            "seconds": round(run.seconds, 2),
            "core_seconds": round(run.core_seconds, 2),
            "claims": [
                {name: getattr(claim, name) for name in ("sentence", "value", "relation", "bound", "holds")}
                for claim in run.claims
            ],
        }
        for run in runs
    ]


def lesson_table(runs: Sequence[LessonRun]) -> str:
    """Return the table for docs/lessons.md: one line for each lesson, with its finding in this run."""
    lines = ["| | lesson | what it finds |", "|---|---|---|"]
    for run in runs:
        script = f"[{run.lesson.title}](experiments/lessons/{run.lesson.path.name})"
        lines.append(f"| {run.lesson.number} | {script} | {run.finding or run.failure} |")
    return "\n".join(lines) + "\n"


def _environment() -> Environment:
    environment = template_environment(_HERE)
    options = {"html": False, "highlight": lambda code, language, _: str(_highlighted(code, language))}
    renderer = MarkdownIt("commonmark", options).enable("table")

    def render(text: str) -> Markup:
        # Links to lessons point to scripts in the repository, but to pages here.
        page = re.sub(r'(<a href="[0-9a-z_]+)\.py"', r'\1.html"', renderer.render(text))
        page = page.replace("<table>", '<div class="scroll" tabindex="0"><table>')
        return Markup(page.replace("</table>", "</table></div>"))

    environment.filters["markdown"] = render
    environment.filters["python"] = _highlighted
    environment.filters["inline"] = lambda text: Markup(renderer.renderInline(text))
    report_style = (_HERE.parent / "reporting" / "style.css").read_text(encoding="utf-8")
    own_style = (_HERE / "gallery.css").read_text(encoding="utf-8")
    environment.globals["style"] = Markup(css_variables() + report_style + own_style)
    environment.globals["script"] = Markup((_HERE / "gallery.js").read_text(encoding="utf-8"))
    return environment


def _highlighted(code: str, language: str = "python") -> Markup:
    """Return code with the CSS classes of Pygments; unchanged if the language is unknown."""
    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text", stripnl=False)
    return Markup(highlight(code, lexer, HtmlFormatter(nowrap=True)).rstrip("\n"))


def _cells(run: LessonRun) -> list[dict[str, Any]]:
    """Pair every cell with its outputs; cells after a failure were not run."""
    cells = []
    for cell, outputs in zip(run.lesson.cells, run.outputs, strict=False):
        shown = [{"kind": _KINDS[type(output)], "output": output} for output in outputs]
        # Code that only imports, draws or reports would separate a question from its answer.
        source = cell.source
        folded = source.startswith(("import ", "from ")) or any(call in source for call in _FOLDED)
        cells.append({"cell": cell, "outputs": shown, "folded": folded})
    return cells


def to_notebook(lesson: Lesson) -> str:
    """Return a lesson as the text of an ``.ipynb`` file.

    The notebook has no outputs, because the prediction comes first. Solutions become folded text, and running
    all cells does not run them. Lessons need only a few keys of notebook format 4.5.
    """
    notebook = {
        "cells": [_convert(cell, f"cell-{place}") for place, cell in enumerate(lesson.cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def _convert(cell: Cell, identity: str) -> dict[str, Any]:
    source = _SOLUTION.format(cell.source) if cell.kind == "solution" else cell.source
    converted: dict[str, Any] = {"id": identity, "metadata": {}, "source": source.splitlines(keepends=True)}
    if cell.kind == "code":
        return converted | {"cell_type": "code", "execution_count": None, "outputs": []}
    return converted | {"cell_type": "markdown"}


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
