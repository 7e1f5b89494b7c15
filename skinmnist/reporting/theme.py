"""Colours and typography of the report page and its figures, in light and dark mode.

The series use the colour-blind-safe palette of Okabe & Ito (2008) without its yellow, which is hard to see
on white. Figures are drawn in the light colours; on export, each colour becomes a CSS variable with the same
meaning, and figures follow the page into dark mode.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D, blended_transform_factory

from skinmnist.analysis.operating_points import PRIOR_CORRECTION
from skinmnist.datasets.table import picture_strip, png_uri
from skinmnist.reporting.format import sampler_label, shorten
from skinmnist.text import printable

#: The colour of each meaning, in light and dark mode.
_HUES = {
    "ink": ("#1c2127", "#e7eaed"),
    "muted": ("#59636e", "#a3adb8"),
    "line": ("#d4d9df", "#3a424b"),
    "heat": ("#084f86", "#7cc4f3"),
    "on-heat": ("#fefefe", "#0c1116"),
    "on-middle": ("#030303", "#000000"),
    "on-pale": ("#020202", "#ffffff"),
    "blue": ("#0072b2", "#4fa9e0"),
    "vermillion": ("#d55e00", "#f08a4b"),
    "green": ("#009e73", "#35c29a"),
    "purple": ("#cc79a7", "#e0a3c5"),
    "orange": ("#e69f00", "#f0b640"),
    "sky": ("#56b4e9", "#8ed0f5"),
}
LIGHT, DARK = ({name: hues[side] for name, hues in _HUES.items()} for side in (0, 1))

INK, MUTED, LINE, HEAT, ON_HEAT = (LIGHT[name] for name in ("ink", "muted", "line", "heat", "on-heat"))
SERIES = tuple(LIGHT[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky"))
#: Markers of equal visual weight; the first, hollow, denotes training without any strategy.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")

#: Fonts that ship with operating systems; no font is downloaded.
SANS = (
    '-apple-system,BlinkMacSystemFont,"Segoe UI",Roboto,Ubuntu,Cantarell,"Noto Sans","Helvetica Neue",'
    '"Liberation Sans",Arial,sans-serif'
)

STYLE: Any = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # For measuring only: the reader's system renders the text.
    "font.size": 11.5,
    "text.color": INK,
    "text.parse_math": False,  # A class name may contain dollar signs: "a$b$".
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

#: Widths of figures in CSS pixels: full page, phone, and one of several side by side.
WIDE, NARROW, MULTIPLE = 860, 360, 272
#: Shares of the heat colour above which the other ink has more contrast: in dark mode and in light mode.
_MIDDLE, _FULL = 0.55, 0.74

#: Space between and around strips of pictures, in CSS pixels.
_BETWEEN, _AROUND = 18, 12
#: Height of the title of a standalone figure.
_TITLE = 30
#: Style of reference lines.
DASHES: Any = {"linewidth": 1.1, "linestyle": (0, (4, 3))}

#: In an SVG: attributes with coordinates, their digits beyond hundredths of a pixel, groups of marks, paths,
#: hashes as ids, and styles with their tag and clip path.
_PLACES = re.compile(r' (?:d|x|y|transform|width|height)="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")
_PATHS = re.compile(r' d="([^"]*)')
_IDS = re.compile(r'(?:(?<= id=")|(?<=href="#)|(?<=url\(#))[mp][0-9a-f]{10}\b')
_STYLED = re.compile(r'(<[a-z][^>]*?)(?: clip-path="(url\(#\w+\))")? style="([^"]*)"')
_MARKS = re.compile(r'<g([^>]*)>\n((?:<use [^>]*style="([^"]*)"/>\n)+)</g>')

P = ParamSpec("P")
R = TypeVar("R")
_KEPT: ContextVar[list[Drawing] | None] = ContextVar("kept", default=None)


def heat_ink(share: float) -> str:
    """Return the ink for a number on a share of the heat colour; contrast is at least 4.5 in both modes."""
    return "on-pale" if share < _MIDDLE else "on-middle" if share < _FULL else "on-heat"


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Apply the style of the page while drawing, then restore matplotlib's settings."""

    @wraps(draw)
    def with_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return with_style


class PageFigure(Figure):
    """A figure of the page: notebooks display it without pyplot, sharp on every screen.

    Attributes
    ----------
    notes : list of (axes, x, y, text)
        Text that the page shows on hover, at a position in data coordinates of the axes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.notes: list[tuple[Axes, float, float, str]] = []

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=2 * self.dpi, facecolor="white")
        width, height = (round(self.dpi * inches) for inches in self.get_size_inches())
        return buffer.getvalue(), {"width": width, "height": height}


def note(axes: Axes, x: float, y: float, text: str) -> None:
    """Add text that appears when a reader hovers over a position in a figure of the page."""
    if isinstance(axes.figure, PageFigure):
        axes.figure.notes.append((axes, x, y, text))


def _placed(figure: Figure) -> tuple[tuple[float, float, str], ...]:
    """Return the notes of a figure within its axes, in per cent from its upper left corner."""
    width, height = figure.bbox.size
    placed = []
    for axes, x, y, text in figure.notes if isinstance(figure, PageFigure) else ():
        at = axes.transData.transform((x, y))
        box = axes.bbox
        if box.x0 - 4 <= at[0] <= box.x1 + 4 and box.y0 - 4 <= at[1] <= box.y1 + 4:
            placed.append((round(100 * at[0] / width, 1), round(100 - 100 * at[1] / height, 1), text))
    return tuple(placed)


def headed(figure: Figure, title: str) -> Figure:
    """Add a title above a figure; on the page, a caption takes its place."""
    width, height = 72 * figure.get_size_inches()
    share = height / (height + _TITLE)
    for axes in figure.axes:
        left, low, wide, high = axes.get_position().bounds
        axes.set_position((left, low * share, wide, high * share))
    for text in figure.texts:
        text.set_y(text.get_position()[1] * share)
    figure.set_size_inches(width / 72, (height + _TITLE) / 72)
    style: dict[str, Any] = {"va": "top", "fontsize": 11.5, "weight": "bold", "color": INK}
    figure.text(8 / width, 1 - 8 / (height + _TITLE), shorten(title, int(width / 7.5)), **style)
    return figure


def panels(
    width: float, height: float, margins: tuple[float, float, float, float], rows: int = 1, gap: float = 0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `rows` axes of equal height, everything in CSS pixels.

    `margins` are left, right, top and bottom. A layout computed explicitly is fast and identical on every
    machine.
    """
    left, right, top, bottom = margins
    figure = PageFigure(figsize=(width / 72, height / 72), dpi=72)
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


def label_rows(axes: Axes, names: Mapping[float, str], size: float = 11) -> None:
    """Write names at heights to the left of the axes, instead of ticks, which take several times longer."""
    axes.set_yticks([])
    beside = blended_transform_factory(Affine2D().translate(axes.bbox.x0, 0), axes.transData)
    for y, name in names.items():
        place: Any = {"transform": beside, "ha": "right", "va": "center_baseline"}
        axes.text(-4, y, name, fontsize=size, **place)


def text_width(text: str, size: float = 10.5) -> float:
    """Return a generous estimate of the rendered width of a string, in CSS pixels."""
    return 0.6 * size * len(text)


def css_variables() -> str:
    """Return both palettes as CSS variables; print uses the light one."""
    light, dark = ("".join(f"--{name}:{hue};" for name, hue in hues.items()) for hues in (LIGHT, DARK))
    light += f"--sans:{SANS};"
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def model_colour(models: Sequence[str], model: str) -> str:
    """Return the colour of a model, based on its position in the grid."""
    return SERIES[list(models).index(model) % len(SERIES)]


def marker_style(samplers: Sequence[str], sampler: str, colour: str, size: float = 7) -> dict[str, Any]:
    """Return the marker of a sampler: hollow for ``none``, filled for the others."""
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
    """Return the colour and marker of a pair; prior correction, which is not trained, is grey."""
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
    """Draw a legend of the samplers' markers, and of `more`, below the axes."""
    handles = [
        Line2D([], [], label=sampler_label(sampler, 22), **marker_style(samplers, sampler, colour, 7))
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


@dataclass(frozen=True)
class Embedded:
    """An inline image, with its natural size in CSS pixels; `narrow` is its version for phones.

    `values` are the texts shown on hover: per cent from the left, per cent from the top, and text.
    """

    uri: str
    width: int
    height: int
    alt: str
    narrow: Embedded | None = None
    values: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True)
class Captioned:
    """One or more drawings with a shared caption."""

    caption: str
    images: tuple[Embedded, ...]
    detail: str = ""
    labels: tuple[str, ...] = ()


def embed_figure(figure: Figure, alt: str, narrow: Figure | None = None) -> Embedded:
    """Convert a figure to an SVG that follows the page into dark mode.

    The output is deterministic: equal figures give equal bytes.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "skinmnist"}), warnings.catch_warnings():
        # The reader's system renders the text, so a glyph missing here does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    kept = _KEPT.get()
    if kept is not None:
        kept.append(Drawing.of(figure, alt))
    small = None if narrow is None else keeping(None, embed_figure, narrow, alt)
    svg = _themed(buffer.getvalue().decode()).encode()
    return Embedded(_data_uri("image/svg+xml", svg), width, height, alt, small, _placed(figure))


@dataclass(frozen=True)
class Drawing:
    """A standalone figure in light colours, for other documents; its width is in points."""

    alt: str
    width: float
    svg: bytes
    pdf: bytes

    @classmethod
    def of(cls, figure: Figure, alt: str) -> Drawing:
        """Export a figure as SVG and PDF; equal figures give equal bytes."""
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        kinds: dict[str, Any] = {
            "svg": {"metadata": nothing},
            "pdf": {"metadata": dict.fromkeys(("CreationDate", "Creator", "Producer"))},
        }
        settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "skinmnist", "pdf.fonttype": 42}
        files = []
        for kind, options in kinds.items():
            buffer = io.BytesIO()
            with mpl.rc_context(settings), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                figure.savefig(buffer, format=kind, transparent=True, **options)
            files.append(buffer.getvalue())
        svg = files[0].decode().replace("DejaVu Sans", "DejaVu Sans, Helvetica, Arial")
        return cls(alt, 72 * figure.get_size_inches()[0], svg.encode(), files[1])


def keeping(kept: list[Drawing] | None, draw: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Draw, and append each figure embedded during the call in this process to `kept`, if it is not None."""
    token = _KEPT.set(kept)
    try:
        return draw(*args, **kwargs)
    finally:
        _KEPT.reset(token)


def _themed(svg: str) -> str:
    """Replace colours with CSS variables, use system fonts, and strip unneeded markup."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"font-family: [^;\"]*(; )?", "", svg)
    svg = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', svg, count=2)
    svg = re.sub(r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    svg = _PLACES.sub(lambda found: _DIGITS.sub(r"\1", found[0]), svg)
    svg = _without_bare_groups(_MARKS.sub(_styled_once, svg))
    svg = _PATHS.sub(lambda found: ' d="' + re.sub(r"\s*([A-Za-z])\s*", r"\1", found[1]), svg)
    for name, hue in LIGHT.items():
        svg = svg.replace(hue, f"var(--{name})")
    svg, classes = _classed(_short_ids(svg))
    style = f"{css_variables()}text{{font-family:var(--sans);font-variant-numeric:tabular-nums}}{classes}"
    svg = "\n".join(printable(line, None) for line in svg.split("\n"))
    return svg.replace('<style type="text/css">', f'<style type="text/css">{style}', 1)


def _styled_once(marks: re.Match[str]) -> str:
    """Move the style that all marks of a group share to the group."""
    group, uses, style = marks.groups()
    once = f' style="{style}"'
    if uses.count(once) != uses.count("<use "):
        return marks[0]
    return f"<g{group}{once}>\n{uses.replace(once, '')}</g>"


def _without_bare_groups(svg: str) -> str:
    """Remove groups without attributes, which change nothing."""
    parts, bare = [], []
    for part in re.split(r"(<g/?>\n|<g [^>]*[^/]>|</g>\n)", svg):
        if part.startswith("<g") and part != "<g/>\n":
            bare.append(part == "<g>\n")
        if part in ("<g>\n", "<g/>\n") or (part == "</g>\n" and bare.pop()):
            continue
        parts.append(part)
    return "".join(parts)


def _short_ids(svg: str) -> str:
    """Replace the ids of marks and clip paths, which are hashes, by numbers in the order of appearance."""
    names = {name: f"{name[0]}{n}" for n, name in enumerate(dict.fromkeys(_IDS.findall(svg)))}
    return _IDS.sub(lambda found: names[found[0]], svg)


def _classed(svg: str) -> tuple[str, str]:
    """Replace styles and clip paths that occur more than once by classes, and return these as CSS."""
    times = Counter(found[1:] for found in _STYLED.findall(svg))
    names = {found: f"c{n}" for n, found in enumerate(found for found in times if times[found] > 1)}

    def classed(found: re.Match[str]) -> str:
        tag, *style = found.groups("")
        return f'{tag} class="{names[tuple(style)]}"' if tuple(style) in names else found[0]

    rules = [
        f".{name}{{{f'clip-path: {clip}; ' if clip else ''}{style}}}" for (clip, style), name in names.items()
    ]
    return _STYLED.sub(classed, svg), "".join(rules)


def embed_strip(pictures: npt.NDArray[np.uint8], alt: str, size: int = 56) -> Embedded:
    """Place pictures (m, height, width, channels) side by side, enlarged by a whole factor to about `size`.

    See `picture_strip`. A single picture is not enlarged here, because the page enlarges its pixels.
    """
    if len(pictures) == 1:
        height, width = pictures.shape[1:3]
        factor = max(1, round(size / height))
        return Embedded(png_uri(picture_strip(pictures, 1)), width * factor, height * factor, alt)
    canvas = picture_strip(pictures, size)
    return Embedded(png_uri(canvas), canvas.shape[1], canvas.shape[0], alt)


@styled
def strips_figure(strips: Sequence[tuple[str, npt.NDArray[np.uint8]]], size: int = 56) -> Figure:
    """Draw pictures as `embed_strip` does, each strip with its caption below, in as many columns as fit."""
    canvases = [picture_strip(pictures, size) for _, pictures in strips]
    height, width = canvases[0].shape[:2]
    below = 8 + 15 * max(words.count("\n") + 1 for words, _ in strips)
    needed = max(width, *(text_width(line, 10) for words, _ in strips for line in words.split("\n")))
    columns = min(len(strips), max(1, int((WIDE + _BETWEEN) // (needed + _BETWEEN))))
    total = (
        columns * (needed + _BETWEEN) + 2 * _AROUND - _BETWEEN,
        -(-len(strips) // columns) * (height + below + _BETWEEN) + 2 * _AROUND - _BETWEEN,
    )
    figure = PageFigure(figsize=(total[0] / 72, total[1] / 72), dpi=72)
    for place, (canvas, (words, _)) in enumerate(zip(canvases, strips, strict=True)):
        left = _AROUND + place % columns * (needed + _BETWEEN)
        top = total[1] - _AROUND - place // columns * (height + below + _BETWEEN)
        corner = left / total[0], (top - height) / total[1]
        axes = figure.add_axes((*corner, width / total[0], height / total[1]))
        axes.imshow(canvas, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        at = left / total[0], (top - height - 4) / total[1]
        figure.text(*at, words, va="top", fontsize=10, color=INK, linespacing=1.2)
    return figure


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
