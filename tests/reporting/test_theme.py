"""Markers, and figures and pictures as data URIs."""

from __future__ import annotations

import base64
import io
import re
import warnings
from itertools import product
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.sections.data import class_counts_figure, classes, folds_figure
from skinmnist.reporting.theme import (
    DARK,
    LIGHT,
    embed_figure,
    embed_strip,
    heat_ink,
    marker_style,
    note,
    panels,
)


def test_drawing_leaves_the_settings_of_matplotlib_alone(record: RunRecord) -> None:
    before = dict(mpl.rcParams)
    embed_figure(class_counts_figure(classes(record)), "bars")
    assert dict(mpl.rcParams) == before


def test_svg_follows_the_page_into_the_dark(record: RunRecord) -> None:
    image = embed_figure(folds_figure(5), "folds")
    svg = base64.b64decode(image.uri.split(",")[1]).decode()
    drawing = re.sub(r"--[\w-]+:#[0-9a-f]{6}", "", svg)  # All but the definitions of the colours.
    assert "prefers-color-scheme:dark" in svg
    assert "var(--heat)" in drawing
    assert "#084f86" not in drawing
    assert f'width="{image.width}"' in svg


def test_values_stand_where_they_are_drawn() -> None:
    figure, (axes,) = panels(200, 100, (50, 50, 20, 30))
    axes.set(xlim=(0, 1), ylim=(0, 10))
    note(axes, 0.5, 10, "above")
    note(axes, 1, 0, "corner")
    note(axes, 0.5, 20, "outside")
    assert embed_figure(figure, "plot").values == ((50, 20, "above"), (75, 70, "corner"))


def test_a_glyph_that_is_missing_here_is_no_warning(record: RunRecord) -> None:
    drawn = classes(record).assign(**{"class": ["母斑"] * 7})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = embed_figure(class_counts_figure(drawn), "bars")
    assert "母斑" in base64.b64decode(image.uri.split(",")[1]).decode()


@pytest.mark.parametrize(("size", "factor"), [(8, 7), (28, 2), (64, 1), (200, 1)])
def test_strip_enlarges_by_whole_pixels(size: int, factor: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    image = embed_strip(pictures, "three")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.uri.split(",")[1]))))
    assert pixels.shape == (size * factor, 3 * size * factor + 2 * 4, 4)
    second = pixels[::factor, size * factor + 4 : 2 * size * factor + 4 : factor, :3]
    assert np.array_equal(second, pictures[1])


def test_grey_pictures_stay_grey() -> None:
    pictures = np.full((1, 4, 4, 1), 90, dtype=np.uint8)
    image = embed_strip(pictures, "grey")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.uri.split(",")[1]))))
    assert np.all(pixels[..., :3] == 90)


def test_none_is_hollow_and_every_other_sampler_has_its_own_mark() -> None:
    samplers = ["SMOTE", "none", "ADASYN"]
    styles = {name: marker_style(samplers, name, "#123456") for name in samplers}
    assert styles["none"]["markerfacecolor"] == "none"
    assert len({style["marker"] for style in styles.values()}) == 3


def test_numbers_on_heat_are_legible_in_the_light_and_in_the_dark() -> None:
    def luminance(colour: np.ndarray) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for hues, papers in ((LIGHT, ("#fbfbf9", "#ffffff")), (DARK, ("#13171b", "#1a1f24"))):
        for paper, share in product(papers, np.arange(101) / 100):
            fill = np.array(to_rgb(hues["heat"])) * (0.04 + 0.96 * share)
            fill += np.array(to_rgb(paper)) * (0.96 - 0.96 * share)
            ink = np.array(to_rgb(hues[heat_ink(float(share))]))
            low, high = sorted((luminance(fill), luminance(ink)))
            assert (high + 0.05) / (low + 0.05) >= 4.5


def test_markup_that_changes_nothing_is_dropped() -> None:
    """Styles of several elements become one class, hashes short ids, and bare groups are removed."""
    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "o-")
    axes.plot([0, 1], [1, 0], "o-")
    svg = base64.b64decode(embed_figure(figure, "").uri.partition(",")[2]).decode()
    head, _, body = svg.partition("</style>")
    classes = set(re.findall(r'class="(\w+)"', body))
    assert classes == set(re.findall(r"\.(c\d+)\{", head))
    styles = re.findall(r' style="([^"]*)"', body)
    assert len(styles) == len(set(styles))
    assert set(re.findall(r"#([mp]\w+)", svg)) - set(re.findall(r"--[\w-]+:#\w+", svg)) <= set(
        re.findall(r' id="(\w+)"', body)
    )
    assert body.count("<g") == body.count("</g>")
    assert "<g>" not in body
    ElementTree.fromstring(svg)
