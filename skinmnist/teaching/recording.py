"""What a lesson shows while it runs, written down cell by cell."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skinmnist.reporting.embed import Embedded


@dataclass(frozen=True)
class Printed:
    """What was printed."""

    text: str


@dataclass(frozen=True)
class Said:
    """A paragraph whose numbers the code put in, in Markdown."""

    text: str


@dataclass(frozen=True)
class Drawn:
    """A figure; the one with `cover` stands for its lesson."""

    figure: Embedded
    cover: bool


@dataclass(frozen=True)
class Sheet:
    """A table: its caption, its headings and its rows, as texts."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Claim:
    """A relation that a lesson holds to.

    Attributes
    ----------
    sentence : str
    value, bound : float
        What was found, and the margin that it must keep.
    relation : str
        ``"at least"`` or ``"at most"``.
    """

    sentence: str
    value: float
    bound: float
    relation: str

    @property
    def holds(self) -> bool:
        """Whether the value keeps its margin."""
        return self.value >= self.bound if self.relation == "at least" else self.value <= self.bound


Output = Printed | Said | Drawn | Sheet | Claim


@dataclass
class Recorder:
    """Takes down what a lesson shows.

    Attributes
    ----------
    outputs : list of list
        What each cell has shown so far.
    finding : str
        The lesson's answer in one sentence.
    table : str
        What the lesson worked on.
    """

    outputs: list[list[Output]] = field(default_factory=list)
    finding: str = ""
    table: str = ""

    def take(self, output: Output) -> None:
        """Add to what the running cell has shown."""
        self.outputs[-1].append(output)

    @property
    def claims(self) -> list[Claim]:
        """What the lesson has held to, in order."""
        return [shown for cell in self.outputs for shown in cell if isinstance(shown, Claim)]


_ACTIVE: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def active_recorder() -> Recorder | None:
    """Return whoever takes down what is shown; None in a plain script or a notebook."""
    return _ACTIVE.get()


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Let a recorder take down what is shown and printed."""
    token = _ACTIVE.set(recorder)
    try:
        with redirect_stdout(_Stream(recorder)):
            yield
    finally:
        _ACTIVE.reset(token)


class _Stream(io.TextIOBase):
    """Puts what is printed among what is shown, in its place."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def write(self, text: str) -> int:
        shown = self.recorder.outputs[-1]
        if shown and isinstance(shown[-1], Printed):
            shown[-1] = Printed(shown[-1].text + text)
        else:
            shown.append(Printed(text))
        return len(text)
