"""Figures and pictures on their own."""

from __future__ import annotations

import base64
import io
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.embed import embed_figure, embed_strip
from skinmnist.reporting.format import (
    count,
    duration,
    fixed,
    listing,
    shorten,
    signed,
    space_title,
    with_spread,
)
from skinmnist.reporting.sections import data as figures_data
from skinmnist.reporting.sections import scores as figures
from skinmnist.reporting.sections import tables


def test_drawing_leaves_the_settings_of_matplotlib_alone(record: RunRecord) -> None:
    before = dict(mpl.rcParams)
    embed_figure(figures_data.class_counts_figure(tables.classes(record)), "bars")
    assert dict(mpl.rcParams) == before


def test_leaderboard_figure_puts_each_mean_on_its_row(record: RunRecord) -> None:
    board = tables.leaderboard(record)
    info = record.info.grid
    figure = figures.leaderboard_figure(
        board, tables.fold_scores(record, "macro_f1"), info.samplers, list(info.models)
    )
    means = [line for line in figure.axes[0].lines if line.get_markersize() > 10]
    drawn = sorted(float(line.get_xdata()[0]) for line in means)
    assert drawn == pytest.approx(sorted(board.loc[~board["reference"], "macro_f1"]))
    assert [line.get_ydata()[0] for line in means] == list(range(8, -1, -1))


def test_confusion_figure_prints_rounded_shares_of_rows(record: RunRecord) -> None:
    counts = tables.confusion(record, "none", "svm")
    figure = figures.confusion_figure(counts)
    shares = 100 * counts.to_numpy() / counts.to_numpy().sum(axis=1, keepdims=True)
    expected = [f"{share:.0f}" for share in shares[shares >= 0.5]]
    assert [text.get_text() for text in figure.axes[0].texts] == expected


def test_validation_curves_are_drawn_where_there_are_some(record: RunRecord) -> None:
    curves = tables.curves(record)
    curves = curves[curves["sampler"] == "none"]
    validated = curves.assign(validation_loss=curves["loss"] + 0.1, validation_accuracy=0.5)
    limits = {"loss": (0.0, 3.0), "accuracy": (0.0, 1.0)}
    drawn = {}
    for name, shown in (("plain", curves), ("validated", validated)):
        figure = figures_data.curves_figure(shown, {"loss": 1.0, "accuracy": 0.6}, "black", limits)
        drawn[name] = [text.get_text() for text in figure.legends[0].get_texts()]
        dotted = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
        assert len(dotted) == (name == "validated")
    assert drawn == {"plain": ["a fold", "mean", "held-out"], "validated": [*drawn["plain"], "validation"]}
    np.testing.assert_allclose(
        dotted[0].get_ydata(), validated.groupby("step")["validation_loss"].mean().to_numpy()
    )


def test_svg_follows_the_page_into_the_dark(record: RunRecord) -> None:
    image = embed_figure(figures_data.folds_figure(5), "folds")
    svg = base64.b64decode(image.uri.split(",")[1]).decode()
    drawing = svg[svg.index("</style>") :]
    assert "prefers-color-scheme:dark" in svg
    assert "var(--heat)" in drawing
    assert "#084f86" not in drawing
    assert f'width="{image.width}"' in svg


def test_a_glyph_that_is_missing_here_is_no_warning(record: RunRecord) -> None:
    classes = tables.classes(record).assign(**{"class": ["母斑"] * 7})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = embed_figure(figures_data.class_counts_figure(classes), "bars")
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
    styles = {name: figures.marker_style(samplers, name, "#123456") for name in samplers}
    assert styles["none"]["markerfacecolor"] == "none"
    assert len({style["marker"] for style in styles.values()}) == 3


def test_numbers_and_names() -> None:
    assert with_spread(0.6124, 0.0144) == "0.612 ± 0.014"
    assert with_spread(0.6124, float("nan")) == "0.612"
    assert (fixed(float("nan")), fixed(-0.0001), signed(-0.25), signed(0.25)) == (
        "–",
        "0.000",
        "−0.250",
        "+0.250",
    )
    assert (duration(4.21), duration(512.3), duration(7300)) == ("4.2 s", "8 min 32 s", "2 h 1 min")
    assert (count(1, "fold"), count(7470, "lesion"), count(2, "class", "classes")) == (
        "1 fold",
        "7,470 lesions",
        "2 classes",
    )
    assert (listing(["a"]), listing(["a", "b", "c"]), listing([])) == ("a", "a, b and c", "")
    assert shorten("a very long name", 8) == "a very…"
    assert space_title("SMOTE", "pixels") == "SMOTE on pixels"
    assert space_title("class_weight", "pixels") == "class_weight"
