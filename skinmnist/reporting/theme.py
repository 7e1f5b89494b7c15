"""Colours and type of the page and of its figures, in one place, for light and for dark.

The series are the colour-blind-safe palette of Okabe & Ito (2008), without its yellow, which is lost on
white. Figures are drawn with the light hues; on export each becomes a CSS variable of the same meaning, so
that a figure follows the page into the dark.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

LIGHT = {
    "ink": "#1c2127",
    "muted": "#59636e",
    "line": "#d4d9df",
    "heat": "#084f86",
    "on-heat": "#fefefe",
    "blue": "#0072b2",
    "vermillion": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "orange": "#e69f00",
    "sky": "#56b4e9",
}
DARK = {
    "ink": "#e7eaed",
    "muted": "#a3adb8",
    "line": "#3a424b",
    "heat": "#7cc4f3",
    "on-heat": "#0c1116",
    "blue": "#4fa9e0",
    "vermillion": "#f08a4b",
    "green": "#35c29a",
    "purple": "#e0a3c5",
    "orange": "#f0b640",
    "sky": "#8ed0f5",
}

INK, MUTED, LINE, HEAT, ON_HEAT = (LIGHT[name] for name in ("ink", "muted", "line", "heat", "on-heat"))
SERIES = tuple(LIGHT[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky"))
#: Markers of equal weight; the first, hollow, is for training without any remedy.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")

#: The faces that systems bring along; nothing is loaded.
SANS = (
    '-apple-system,BlinkMacSystemFont,"Segoe UI",Roboto,Ubuntu,Cantarell,"Noto Sans","Helvetica Neue",'
    '"Liberation Sans",Arial,sans-serif'
)

STYLE: Any = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # Measures only: the reader's system draws the letters.
    "font.size": 11.5,
    "text.color": INK,
    "text.parse_math": False,  # A class may be called "a$b$".
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11,
    "axes.edgecolor": LINE,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "figure.dpi": 72,  # One point is one CSS pixel.
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw with the style of the page, and leave matplotlib's settings as they were."""

    @wraps(draw)
    def with_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return with_style


def panels(
    width: float, height: float, margins: tuple[float, float, float, float], rows: int = 1, gap: float = 0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `rows` axes of equal height, everything in CSS pixels.

    Parameters
    ----------
    width, height : float
        Of the whole figure.
    margins : tuple of float
        Left, right, top, bottom: a layout that is computed by hand is the same everywhere, and fast.
    rows : int
    gap : float
        Between the axes.
    """
    left, right, top, bottom = margins
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    each = (height - top - bottom - gap * (rows - 1)) / rows
    axes = []
    for row in range(rows):
        lower = height - top - each - row * (each + gap)
        axes.append(
            figure.add_axes(
                (left / width, lower / height, max(width - left - right, 1) / width, each / height)
            )
        )
    return figure, axes


def text_width(text: str, size: float = 10.5) -> float:
    """Estimate how wide a text is drawn, in CSS pixels, generously."""
    return 0.6 * size * len(text)


def css_variables() -> str:
    """Return both palettes as CSS variables; paper is light."""
    light, dark = ("".join(f"--{name}:{hue};" for name, hue in hues.items()) for hues in (LIGHT, DARK))
    light += f"--sans:{SANS};"
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
