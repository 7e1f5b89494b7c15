"""The functions that lessons call to open tables, draw figures, show output and make claims.

In a plain script, output is printed; in a notebook, it is displayed; ``python -m skinmnist.lessons`` records
it for the gallery.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skinmnist import facts
from skinmnist.errors import InputError
from skinmnist.reporting.theme import INK as INK
from skinmnist.reporting.theme import LINE as LINE
from skinmnist.reporting.theme import MUTED as MUTED
from skinmnist.reporting.theme import SERIES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from skinmnist.datasets.table import PixelTable
    from skinmnist.reporting.theme import Embedded

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, *_ = SERIES

#: Default number of pictures in a lesson's table.
ROWS = 2500
#: Classes that every lesson compares.
SPOKEN_OF = ("nv", "mel")
#: Width of every figure, in CSS pixels: it fits on a phone, and a desktop enlarges it.
WIDTH = 440


@dataclass(frozen=True)
class Printed:
    """Printed text."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A Markdown paragraph with computed numbers."""

    text: str


@dataclass(frozen=True)
class ShownFigure:
    """A figure; with `cover`, it represents its lesson in the gallery."""

    figure: Embedded
    cover: bool


@dataclass(frozen=True)
class ShownTable:
    """A table: its caption, headings and rows, as text."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Claim:
    """A relation that a lesson asserts: `value` is ``"at least"`` or ``"at most"`` `bound`."""

    sentence: str
    value: float
    bound: float
    relation: str

    @property
    def holds(self) -> bool:
        """Whether the value satisfies the bound."""
        return self.value >= self.bound if self.relation == "at least" else self.value <= self.bound


Output = Printed | Paragraph | ShownFigure | ShownTable | Claim


@dataclass
class Recorder:
    """Recorder of each cell's outputs, the lesson's answer in one sentence, and the name of its table."""

    #: Seed of all random draws in the lesson.
    seed: int = 0
    outputs: list[list[Output]] = field(default_factory=list)
    finding: str = ""
    table: str = ""

    def take(self, output: Output) -> None:
        """Append to the outputs of the running cell."""
        self.outputs[-1].append(output)


#: The active recorder; None in a plain script or a notebook.
_ACTIVE: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Record everything shown and printed inside the block."""
    token = _ACTIVE.set(recorder)
    try:
        with redirect_stdout(_Stream(recorder)):
            yield
    finally:
        _ACTIVE.reset(token)


class _Stream(io.TextIOBase):
    """Text stream that records prints among the other outputs, in order."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def write(self, text: str) -> int:
        shown = self.recorder.outputs[-1]
        if shown and isinstance(shown[-1], Printed):
            shown[-1] = Printed(shown[-1].text + text)
        else:
            shown.append(Printed(text))
        return len(text)


def lesson_seed() -> int:
    """Return the seed given by ``--seed`` of the lessons command; 0 in a plain script or a notebook."""
    recorder = _ACTIVE.get()
    return 0 if recorder is None else recorder.seed


def open_table(rows: int = ROWS) -> PixelTable:
    """Return `rows` pictures of `find_whole_table`, as whole lesions; without a table, synthetic pictures."""
    from skinmnist.datasets.synthetic.lesions import make_lesions
    from skinmnist.datasets.table import sample_rows

    whole = find_whole_table()
    if whole is None:
        table = make_lesions(rows, random_state=lesson_seed())
    else:
        table = whole.take(sample_rows(whole, rows, random_state=lesson_seed(), min_lesions=10))
    recorder = _ACTIVE.get()
    height, width, _ = table.shape
    kind = "synthetic" if table.synthetic else "real"
    if recorder is not None:
        recorder.table = f"{table.name}, {len(table):,} {kind} pictures of {height} x {width}"
    say(
        f"The table: {len(table):,} {kind} pictures of {height} × {width} pixels, {table.n_lesions:,} "
        "lesions."
    )
    return table


def find_whole_table() -> PixelTable | None:
    """Return the table in ``$SKINMNIST_DATA`` or ``data/``, or None if no table is found.

    Raises InputError if it lacks lesion ids, moles or melanomas.
    """
    from skinmnist.datasets.hmnist import find_table, load_hmnist

    path = find_table()
    if path is None:
        return None
    table = load_hmnist(path)
    if table.lesion_ids is None:
        raise InputError(
            f"the lessons received {path} without metadata; they keep the pictures of a lesion "
            f"together, so put {facts.METADATA_FILE} beside it"
        )
    missing = [name for name in SPOKEN_OF if name not in table.class_names]
    if missing:
        raise InputError(
            f"the lessons received {path} without the class {' and the class '.join(missing)}; they compare "
            "melanomas with moles, so name a table that has both"
        )
    return table


def figure(height: float = 260, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Return a figure in the style of the report, and its axes.

    Parameters
    ----------
    height : float
        Height in CSS pixels; the width is `WIDTH`.
    rows, columns : int
        Shape of the grid of axes.
    **options
        Options of `matplotlib.pyplot.subplots`.

    Notes
    -----
    The style applies to the rest of the session.
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from skinmnist.reporting.theme import STYLE

    mpl.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=(WIDTH / 72, height / 72), layout="constrained", **options)


def show(plot: Figure, alt: str, cover: bool = False) -> None:
    """Show a figure.

    Parameters
    ----------
    plot : Figure
    alt : str
        Alternative text: the figure's contents and key numbers, for readers who cannot see it.
    cover : bool
        Whether the figure represents its lesson in the gallery.
    """
    import matplotlib.pyplot as plt

    recorder = _ACTIVE.get()
    if recorder is not None:
        from skinmnist.reporting.theme import embed_figure

        recorder.take(ShownFigure(embed_figure(plot, alt), cover))
    elif _in_notebook():
        from IPython.display import Image, display

        picture = io.BytesIO()
        plot.savefig(picture, format="png", dpi=144, facecolor="white")
        display(Image(picture.getvalue(), width=1.4 * WIDTH, alt=alt))
    else:
        print(f"[figure] {alt}")
        if plt.get_backend().lower() != "agg":
            plt.show()
    plt.close(plot)


def show_table(frame: pd.DataFrame, caption: str, digits: int = 3) -> None:
    """Show a table with its index as the first column; fractions have `digits` digits."""
    written = frame.reset_index().map(lambda value: _written(value, digits)).astype(str)
    recorder = _ACTIVE.get()
    if recorder is not None:
        rows = tuple(tuple(row) for row in written.to_numpy())
        recorder.take(ShownTable(caption, tuple(map(str, written.columns)), rows))
    elif _in_notebook():
        from IPython.display import display

        display(written.style.hide(axis="index").set_caption(caption))
    else:
        print(f"{caption}\n{written.to_string(index=False)}\n")


def say(sentence: str) -> None:
    """Show a Markdown paragraph with computed numbers."""
    recorder = _ACTIVE.get()
    if recorder is not None:
        recorder.take(Paragraph(sentence))
    elif _in_notebook():
        from IPython.display import Markdown, display

        display(Markdown(sentence))
    else:
        print(sentence)


def claim(
    sentence: str, value: float, *, at_least: float | None = None, at_most: float | None = None
) -> None:
    """Assert a relation with a margin.

    Parameters
    ----------
    sentence : str
        The claim of the lesson, in words.
    value : float
        The measured value, usually a difference.
    at_least, at_most : float
        The bound; give exactly one of the two.

    Raises
    ------
    AssertionError
        If the relation does not hold.
    """
    if (at_least is None) == (at_most is None):
        raise TypeError("claim takes either at_least or at_most")
    relation, bound = ("at most", at_most) if at_least is None else ("at least", at_least)
    stated = Claim(sentence, float(value), float(bound or 0.0), relation)
    recorder = _ACTIVE.get()
    if recorder is not None:
        recorder.take(stated)
    else:
        print(f"Claim: {sentence} ({stated.value:.3g}, {relation} {stated.bound:.3g})")
    assert stated.holds, f"{sentence}: found {stated.value:.3g}, expected {relation} {stated.bound:.3g}"


def finding(sentence: str) -> None:
    """State the lesson's answer in one sentence, for its card and the table of lessons."""
    recorder = _ACTIVE.get()
    if recorder is not None:
        recorder.finding = sentence
    say(f"**Finding.** {sentence}")


def _written(value: Any, digits: int) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.{digits}f}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int) else str(value)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
