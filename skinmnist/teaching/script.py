"""Lessons as scripts of cells in the percent format, which VS Code, Spyder and Jupytext read as well.

``# %%`` begins a cell of code, ``# %% [markdown]`` one of text behind ``# ``, and ``# %% tags=["solution"]``
a cell of code that answers an exercise. The format is small enough to be read here; Jupytext would bring the
notebook format, a YAML and a TOML parser for these forty lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skinmnist.errors import InputError

Kind = Literal["markdown", "code", "solution"]

#: Where the lessons stand in the repository.
FOLDER = Path(__file__).parent.parent.parent / "experiments" / "lessons"
_MARK = "# %%"
_FILE = re.compile(r"(\d\d)_[a-z0-9_]+\.py")


@dataclass(frozen=True)
class Cell:
    """A cell of a lesson.

    Attributes
    ----------
    kind : {"markdown", "code", "solution"}
    source : str
        Without its mark; of a text also without the leading ``# ``.
    line : int
        Of the script, counted from 1, on which `source` begins.
    """

    kind: Kind
    source: str
    line: int


@dataclass(frozen=True)
class Lesson:
    """A lesson as it stands in its script.

    Attributes
    ----------
    number : int
    slug : str
        The name of the script without ``.py``: ``"02_oversampling_leak"``.
    path : Path
    title, question : str
        The heading of the first cell, without its number, and the paragraph that follows it.
    cells : tuple of Cell
    """

    number: int
    slug: str
    path: Path
    title: str
    question: str
    cells: tuple[Cell, ...]


def find_lessons(folder: Path = FOLDER, numbers: list[int] | None = None) -> list[Lesson]:
    """Read the lessons of a folder in their order.

    Parameters
    ----------
    folder : Path
    numbers : list of int, optional
        Those that are wanted; all by default.

    Raises
    ------
    InputError
        Where there is no lesson, or none of a number.
    """
    paths = {int(match[1]): path for path in folder.glob("*.py") if (match := _FILE.fullmatch(path.name))}
    if not paths:
        raise InputError(
            f"found no lessons in {folder}; expected the scripts of experiments/lessons, so run this from a "
            "clone of the repository that was installed with pip install -e ."
        )
    wanted = sorted(paths) if not numbers else list(dict.fromkeys(numbers))
    for number in wanted:
        if number not in paths:
            raise InputError(
                f"received lesson {number}; expected {min(paths)} to {max(paths)}, so name one of these"
            )
    return [read_lesson(paths[number]) for number in wanted]


def read_lesson(path: Path) -> Lesson:
    """Read one script.

    Raises
    ------
    InputError
        Where its name has no number, or its first cell is no text with a heading and a question.
    """
    cells = parse_cells(path.read_text(encoding="utf-8"))
    named = _FILE.fullmatch(path.name)
    opening = re.match(r"# \d+\. ([^\n]+)\n\n(.+?)(\n\n|\Z)", cells[0].source if cells else "", re.DOTALL)
    if named is None or opening is None or cells[0].kind != "markdown":
        raise InputError(
            f"{path} is no lesson; expected a name such as 01_name.py, and a first cell of text that begins "
            "with '# 1. Title' and a question below it"
        )
    question = " ".join(opening[2].split())
    return Lesson(int(named[1]), path.stem, path, opening[1], question, tuple(cells))


def parse_cells(text: str) -> list[Cell]:
    """Split a script into its cells; what stands before the first mark belongs to none."""
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
