"""Figures and pictures as data URIs: what makes the page one file."""

from __future__ import annotations

import base64
import io
import re
import warnings
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from skinmnist.reporting.theme import LIGHT, css_variables
from skinmnist.text import printable

#: Space between the pictures of a strip, in CSS pixels.
_GAP = 4


@dataclass(frozen=True)
class Embedded:
    """An image that needs no file, in CSS pixels at natural size; `narrow` is the same drawn for a phone."""

    uri: str
    width: int
    height: int
    alt: str
    narrow: Embedded | None = None


@dataclass(frozen=True)
class Captioned:
    """A drawing, or several, under one caption."""

    caption: str
    images: tuple[Embedded, ...]
    detail: str = ""
    labels: tuple[str, ...] = ()


def embed_figure(figure: Figure, alt: str, narrow: Figure | None = None) -> Embedded:
    """Turn a figure into an SVG that follows the page into the dark.

    The same figure gives the same bytes.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "skinmnist"}), warnings.catch_warnings():
        # The reader's system draws the letters, so that a glyph missing here is no loss.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    small = None if narrow is None else embed_figure(narrow, alt)
    svg = _themed(buffer.getvalue().decode()).encode()
    return Embedded(_data_uri("image/svg+xml", svg), width, height, alt, small)


def _themed(svg: str) -> str:
    """Replace hues by CSS variables, let the system choose the face, and drop what nobody reads."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"font-family: [^;\"]*(; )?", "", svg)
    svg = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', svg, count=2)
    svg = re.sub(r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    for name, hue in LIGHT.items():
        svg = svg.replace(hue, f"var(--{name})")
    style = f"{css_variables()}text{{font-family:var(--sans);font-variant-numeric:tabular-nums}}"
    svg = "\n".join(printable(line, None) for line in svg.split("\n"))
    return svg.replace('<style type="text/css">', f'<style type="text/css">{style}', 1)


def embed_strip(pictures: npt.NDArray[np.uint8], alt: str, size: int = 56) -> Embedded:
    """Set pictures (m, height, width, channels) side by side, enlarged by whole pixels to about `size`.

    One channel is grey; of any other number the first three are red, green and blue.
    """
    m, height, width, channels = pictures.shape
    pictures = pictures[..., :3] if channels >= 3 else np.repeat(pictures[..., :1], 3, axis=-1)
    factor = max(1, round(size / height))
    large = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    step = width * factor + _GAP
    canvas = np.zeros((height * factor, m * step - _GAP, 4), dtype=np.uint8)
    for position, picture in enumerate(large):
        canvas[:, position * step : position * step + width * factor, :3] = picture
        canvas[:, position * step : position * step + width * factor, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, format="PNG", optimize=True)
    return Embedded(_data_uri("image/png", buffer.getvalue()), canvas.shape[1], canvas.shape[0], alt)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
