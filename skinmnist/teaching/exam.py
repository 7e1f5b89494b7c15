"""The exam: questions, a blank sheet, and a marker that gives hints and never answers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError

Answer = float | str

#: Larger integers, which TOML allows, are no floats.
LARGEST = 10**300


@dataclass(frozen=True)
class Slip:
    """A common wrong answer, and what to tell whoever gives it."""

    answer: Callable[[PixelTable], Answer]
    hint: str


@dataclass(frozen=True)
class Question:
    """One question, whose right answer is computed from the table of the exam.

    Attributes
    ----------
    number : int
        Also that of its lesson.
    text : str
        In Markdown.
    expects : str
        What kind of answer, and how exact.
    answer : callable
        Table -> a number, or a word.
    hint : str
        For a wrong answer that is none of `slips`.
    tolerance : float
        By which a number may be off.
    slips : tuple of Slip
    """

    number: int
    text: str
    expects: str
    answer: Callable[[PixelTable], Answer]
    hint: str
    tolerance: float = 0.0
    slips: tuple[Slip, ...] = ()

    @property
    def key(self) -> str:
        """The name of its answer on the sheet."""
        return f"q{self.number}"


@dataclass(frozen=True)
class Mark:
    """What the marker says of one answer.

    Attributes
    ----------
    question : Question
    right : bool
    remark : str
        Empty where the answer is right; else a hint.
    """

    question: Question
    right: bool
    remark: str


def blank_sheet(questions: Sequence[Question]) -> str:
    """Return the sheet to fill in: TOML, every question as a comment above its answer."""
    parts = [
        "# The exam. Put an answer behind each = sign: a number, or a word in quotes.\n"
        "# The table that the questions speak of:\n"
        "#     from skinmnist.teaching.questions import exam_table\n"
        "#     table = exam_table()\n"
    ]
    for question in questions:
        text = "\n".join(f"# {line}".rstrip() for line in question.text.splitlines())
        parts.append(f'# {question.number}.\n{text}\n# Answer: {question.expects}\n{question.key} = ""\n')
    return "\n".join(parts)


def read_sheet(path: Path, questions: Sequence[Question]) -> dict[str, Answer]:
    """Read a sheet; what is left blank is not among the answers.

    Raises
    ------
    InputError
        Where it is no TOML, answers no question, or an answer is neither word nor number, or too large.
    """
    try:
        sheet = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f'{path} is no TOML ({error}); expected lines such as q1 = 12.5 or q10 = "word", so mend it'
        ) from None
    known = {question.key for question in questions}
    for key, answer in sheet.items():
        if key not in known:
            raise InputError(f"{path} answers {key!r}; expected {', '.join(sorted(known))}, so rename it")
        if isinstance(answer, bool) or not isinstance(answer, int | float | str):
            raise InputError(f"{path} answers {key} with {answer!r}; expected a number, or a word in quotes")
        if isinstance(answer, int) and abs(answer) > LARGEST:
            raise InputError(f"{path} answers {key} with more than {LARGEST:.0e}; expected a smaller number")
    return {key: answer for key, answer in sheet.items() if answer != ""}


def mark(answers: dict[str, Answer], questions: Sequence[Question], table: PixelTable) -> list[Mark]:
    """Mark a sheet.

    Parameters
    ----------
    answers : dict of str to number or str
        By the key of their question; numbers may be given as words.
    questions : sequence of Question
    table : PixelTable
        From which the right answers are computed.
    """
    return [_mark_one(answers.get(question.key), question, table) for question in questions]


def _mark_one(given: Answer | None, question: Question, table: PixelTable) -> Mark:
    if given is None:
        return Mark(question, False, f"Not answered yet. {question.hint}")
    right = question.answer(table)
    if isinstance(right, float) and isinstance(given, str):
        number = re.fullmatch(
            r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*%?\s*", given.replace("−", "-")
        )
        if number is None:
            return Mark(question, False, f"Expected {question.expects}.")
        given = float(number[1])
    if _same(given, right, question.tolerance):
        return Mark(question, True, "")
    for slip in question.slips:
        if _same(given, slip.answer(table), question.tolerance):
            return Mark(question, False, slip.hint)
    return Mark(question, False, question.hint)


def _same(given: Answer, wanted: Answer, tolerance: float) -> bool:
    if isinstance(wanted, str):
        return str(given).strip().lower() == wanted.lower()
    # A hair more, for the rounding of floats at the edge.
    return isinstance(given, int | float) and abs(given - wanted) <= tolerance * (1 + 1e-9)
