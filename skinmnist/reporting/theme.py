"""Colours and type of the page and of its figures, in one place, for light and for dark.

The series are the colour-blind-safe palette of Okabe & Ito (2008), without its yellow, which is lost on
white. Figures are drawn with the light hues; on export each becomes a CSS variable of the same meaning, so
that a figure follows the page into the dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinmnist.analysis.prior_correction import PRIOR_CORRECTION
from skinmnist.reporting.format import shorten

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
#: Markers of equal weight; the first, hollow, is for training without any strategy.
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

#: Widths of figures in CSS pixels: of the page, of a phone, and of one of several beside each other.
WIDE, NARROW, MULTIPLE = 860, 360, 272
#: From this share on, a number is printed in the light colour.
DARK_SHARE = 0.65

#: Of lines to compare with.
DASHES: Any = {"linewidth": 1.1, "linestyle": (0, (4, 3))}

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

    `margins` are left, right, top and bottom: a layout that is computed by hand is the same everywhere, and
    fast.
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


def model_colour(models: Sequence[str], model: str) -> str:
    """Return the colour of a model, by its place in the grid."""
    return SERIES[list(models).index(model) % len(SERIES)]


def marker_style(samplers: Sequence[str], sampler: str, colour: str, size: float = 7) -> dict[str, Any]:
    """Return the marker of a sampler: ``none`` hollow, the others filled."""
    others = [name for name in samplers if name != "none"]
    place = 0 if sampler == "none" else 1 + others.index(sampler) % (len(MARKERS) - 1)
    face = "none" if sampler == "none" else colour
    return {
        "marker": MARKERS[place],
        "markersize": size,
        "markeredgecolor": colour,
        "markerfacecolor": face,
        "markeredgewidth": 1.6,
        "linestyle": "none",
    }


def pair_style(samplers: Sequence[str], models: Sequence[str], sampler: str, model: str) -> dict[str, Any]:
    """Return colour and marker of a pair; prior correction, which nobody trained, is grey."""
    if sampler == PRIOR_CORRECTION:
        grey = marker_style(["none"], "none", MUTED, 8)
        return grey | {"marker": "d", "markerfacecolor": ON_HEAT}
    style = marker_style(samplers, sampler, model_colour(models, model), 8)
    return style | ({"markerfacecolor": ON_HEAT} if sampler == "none" else {})


def sampler_legend(
    figure: Figure,
    shown: Sequence[str],
    samplers: Sequence[str],
    colour: str,
    more: Sequence[Line2D] = (),
) -> None:
    """Explain the markers of the samplers, and `more`, below the axes."""
    handles = [
        Line2D([], [], label=shorten(sampler, 22), **marker_style(samplers, sampler, colour, 7))
        for sampler in shown
    ]
    figure.legend(
        handles=[*handles, *more],
        loc="lower left",
        ncols=2,
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0,
        borderpad=0.2,
    )
