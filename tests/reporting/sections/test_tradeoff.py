"""The picture of what samplers traded shows every pair or names it, and no name covers another."""

from __future__ import annotations

import base64
import re
from itertools import combinations

import numpy as np
import pytest
from fake_runs import write_fake_run
from matplotlib.backends.backend_agg import FigureCanvasAgg

from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.curves import BETWEEN_CLASSES, CURVE, FOR_MELANOMA
from skinmnist.analysis.summaries import RANKING, Effect, effects
from skinmnist.experiment.run_folder.record import read_run
from skinmnist.reporting.format import change
from skinmnist.reporting.page import render_page
from skinmnist.reporting.sections.tradeoff import (
    MOST_CURVES,
    draw_tradeoff,
    effect_rows,
    summary,
    tradeoff_claims,
    tradeoff_figure,
    with_line,
)

MANY = ["none", "class_weight", "RandomOverSampler", "SMOTE", "ADASYN", "BorderlineSMOTE", "TomekLinks"]
ONE_MODEL = {"svm": {"title": "SVM", "space": "pixels"}}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    run = write_fake_run(folder, samplers=MANY, models=ONE_MODEL, n_rows=200, folds=3)
    return analyze(read_run(run), draws=1)


@pytest.fixture(scope="module")
def drawn(analysis):
    return draw_tradeoff(analysis)


def texts(figure) -> list[str]:
    """Return what is written in a figure, but for the ticks."""
    inside = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [*inside, *(text.get_text() for legend in figure.legends for text in legend.get_texts())]


def marks(axes) -> list[tuple[float, float]]:
    """Return the large marks: decisions as trained."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if len(line.get_xdata()) == 1 and line.get_zorder() == 6
    ]


def lines(axes):
    return [line for line in axes.lines if len(line.get_xdata()) > 2]


@pytest.mark.parametrize("narrow", [False, True])
def test_every_pair_has_its_line_and_its_mark(analysis, narrow) -> None:
    figure = tradeoff_figure(analysis, narrow)
    assert len(figure.axes) == 3 * 2
    for place, axes in enumerate(figure.axes):
        model = analysis.record.info.cells[0].model if place < 2 else None
        assert len(lines(axes)) == 3
        assert len(marks(axes)) == 3
        assert sorted(text.get_text() for text in axes.texts) == ["RandomOverSampler", "SMOTE", "no sampler"]
        (low_x, high_x), (low_y, high_y) = axes.get_xlim(), axes.get_ylim()
        assert all(low_x < x < high_x and low_y < y < high_y for x, y in marks(axes))
        if model is not None:
            frame = analysis.tradeoff
            plane = (BETWEEN_CLASSES, FOR_MELANOMA)[place]
            rows = frame[
                (frame["model"] == model) & (frame["x"] == plane[0]) & (frame["mark"] == "as_trained")
            ]
            assert marks(axes) == list(rows[["x_mean", "y_mean"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("run", ["analysis", "many"])
def test_names_cover_neither_each_other_nor_leave_the_panel(request, run, narrow) -> None:
    figure = tradeoff_figure(request.getfixturevalue(run), narrow)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert len(boxes) >= 3
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        frame = axes.get_window_extent(renderer)
        assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_of_many_samplers_some_have_lines_and_all_have_marks(many) -> None:
    figure = tradeoff_figure(many)
    for axes in figure.axes:
        assert len(lines(axes)) == 1 + MOST_CURVES
        assert len(marks(axes)) == len(MANY)
    assert {"no sampler", *MANY[1:]} <= set(texts(figure))
    drawn = with_line(many.tradeoff)
    curves = many.tradeoff[(many.tradeoff["mark"] == CURVE) & (many.tradeoff["x"] == "accuracy")]
    heights = curves.groupby("sampler")["y_mean"].max().drop("none").sort_values()
    assert set(drawn) == {"none", heights.index[0], *heights.index[-2:]}
    found = draw_tradeoff(many)
    assert found is not None
    assert "the others are shown only as marks" in " ".join(found.remarks)


@pytest.mark.usefixtures("bare_figures")
def test_pairs_without_a_finished_cell_are_named(make_run, read_page) -> None:
    run = make_run(n_rows=100, finished=lambda cell: cell[:2] != ("SMOTE", "svm") and cell.model != "cnn")
    found = analyze(run, draws=1)
    assert len(tradeoff_figure(found).axes) == 2 * 2
    text = read_page(render_page(found)).text
    section = text[text.index("Sampler or threshold? Each line") : text.index("Every score is computed")]
    assert "Omitted because none of their cells has finished: " in section
    for name in (
        "SMOTE on components with Support vector machine (RBF)",
        "Convolutional network without a sampler",
        "RandomOverSampler on pixels with Convolutional network",
    ):
        assert name in section


def test_the_band_lies_one_deviation_across_the_line(analysis) -> None:
    """Seen from any direction: the spread of folds along the normal, with the scale of the page."""
    axes = tradeoff_figure(analysis).axes[0]
    frame = analysis.tradeoff
    chosen = (frame["sampler"] == "none") & (frame["model"] == "svm") & (frame["mark"] == CURVE)
    curve = frame[chosen & (frame["x"] == "accuracy")]
    (band,) = axes.patches
    corners = axes.transData.transform(band.get_xy()[:-1])
    n = len(corners) // 2
    upper, middle = corners[:n], (corners[:n] + corners[n:][::-1]) / 2
    gaps = axes.transData.transform(curve[["x_mean", "y_mean"]])[None] - middle[:, None]
    nearest = np.hypot(gaps[..., 0], gaps[..., 1])
    assert n > 20
    assert nearest.min(axis=1).max() < 1e-6
    scale = np.diag(axes.transData.get_matrix())[:2]
    for place in (3, n // 2, n - 3):
        gap = upper[place] - middle[place]
        normal, row = gap / np.hypot(*gap), curve.iloc[nearest[place].argmin()]
        together = row["correlation"] * row["x_sd"] * row["y_sd"]
        covariance = np.array([[row["x_sd"] ** 2, together], [together, row["y_sd"] ** 2]])
        expected = normal @ (scale[:, None] * covariance * scale) @ normal
        assert gap @ gap == pytest.approx(expected)


def test_one_fold_has_no_band_and_no_tuned_dots(make_run) -> None:
    run = make_run(n_rows=100, models=ONE_MODEL, finished=lambda cell: cell.fold == 0, status="pending")
    found = analyze(run, draws=1)
    assert all(not axes.patches for axes in tradeoff_figure(found).axes)
    assert "tuned" not in draw_tradeoff(found).image.alt


def test_alt_text_has_the_numbers(analysis, drawn) -> None:
    assert drawn is not None
    frame = analysis.tradeoff
    assert drawn.image.alt.startswith("Trade-offs of 6 panels")
    for row in frame[frame["mark"].isin(["as_trained", "tuned_macro_f1"])].itertuples():
        assert f"{row.x_mean:.3f} and {row.y_mean:.3f}" in drawn.image.alt


def test_the_picture_follows_the_page_into_the_dark(drawn) -> None:
    for image in (drawn.image, drawn.image.narrow):
        svg = base64.b64decode(image.uri.split(",")[1]).decode()
        assert "fill: var(--" in svg
        assert not re.search(r"(fill|stroke): #", svg)


def test_sentences_carry_what_the_verdicts_do(analysis) -> None:
    claims = tradeoff_claims(analysis)
    assert [claim.subject for claim in claims] == [
        "Support vector machine (RBF)",
        "Random forest",
        "Convolutional network",
    ]
    for claim, model in zip(claims, ("svm", "random_forest", "cnn"), strict=True):
        found = [effect for effect in effects(analysis.comparisons) if effect.model == model]
        assert len(found) == 2
        for effect in found:
            sentences = [part.rstrip(".") for part in claim.words.split(". ") if effect.sampler in part]
            if effect.conclusion == "undecided":
                assert not sentences
            else:
                assert [part.rpartition(": ")[2] for part in sentences] == [effect.conclusion]
            row = effect.rows["as_trained", "macro_f1"]
            assert f"{effect.sampler} ({change(row)})" in claim.numbers
            assert row["verdict"] in claim.numbers


def test_nothing_is_claimed_without_a_reference(make_run) -> None:
    found = analyze(make_run(n_rows=100, samplers=["SMOTE"], models=ONE_MODEL), draws=1)
    assert tradeoff_claims(found) == []
    assert not any(axes.patches for axes in tradeoff_figure(found).axes)


def test_a_line_that_turns_back_has_no_band(make_run) -> None:
    """With balanced classes, the prior moves nothing but noise."""
    run = make_run(class_names=["benign", "malign"], n_rows=200, models=ONE_MODEL)
    assert not any(axes.patches for axes in tradeoff_figure(analyze(run, draws=1)).axes)


def section(page):
    return page.partition('id="equal-terms"')[2].partition("<section id=")[0]


def test_every_verdict_stands_with_its_interval(analysis) -> None:
    found = effects(analysis.comparisons)
    laid = effect_rows(analysis.record.info, found)
    assert len(laid) == len(found) == 6
    for shown, effect in zip(laid, found, strict=True):
        assert shown.conclusion == effect.conclusion
        assert len(shown.cells) == len(effect.rows) == 5
        for cell, row in zip(shown.cells, effect.rows.values(), strict=True):
            texts = [
                f"{round(row[name], 3) + 0:+.3f}".replace("-", "−") for name in ("difference", "low", "high")
            ]
            assert [cell.difference, *cell.interval.split(" to ")] == texts
            assert cell.verdict == row["verdict"]
            assert cell.posterior.startswith(
                f"{100 * max(row['worse'], row['equivalent'], row['better']):.0f} % "
            )
            assert cell.shown == (cell.verdict in ("better", "worse"))


def test_pairs_of_one_conclusion_stand_together(analysis) -> None:
    found = effects(analysis.comparisons)
    sentences = summary(found, "{} with {}".format)
    assert len(sentences) == len({effect.conclusion for effect in found})
    for effect in found:
        (own,) = [words for words in sentences if f"{effect.sampler} with {effect.model}" in words]
        assert own.endswith(f": {effect.conclusion}.")


def test_many_undecided_pairs_are_counted() -> None:
    undecided = [Effect(f"S{place}", "svm", {}) for place in range(7)]
    better = Effect("SMOTE", "svm", {RANKING: {"verdict": "better"}})
    named = "{} with {}".format
    assert summary(undecided, named) == ["All 7 pairs: undecided."]
    assert summary([*undecided, better], named) == [
        "SMOTE with svm: learned something.",
        "The other 7 pairs: undecided.",
    ]


@pytest.mark.usefixtures("bare_figures")
def test_one_fold_has_no_interval_and_no_tuned_rule(make_run) -> None:
    only = {"svm": {"title": "SVM", "space": "pixels"}}
    run = make_run(models=only, n_rows=80, finished=lambda cell: cell.fold == 0)
    analysis = analyze(run, draws=1)
    for row in effect_rows(run.info, effects(analysis.comparisons)):
        assert {cell.interval for cell in row.cells} <= {"–", ""}
        assert [cell.difference for cell in row.cells[3:]] == ["–", "–"]
        assert row.conclusion == "undecided"
    assert ":</strong> undecided." in section(render_page(analysis))


@pytest.mark.usefixtures("bare_figures")
def test_without_none_nothing_is_on_equal_terms(make_run) -> None:
    only = {"svm": {"title": "SVM", "space": "pixels"}}
    run = make_run(samplers=["SMOTE"], models=only, n_rows=80)
    assert "none can be compared" in section(render_page(analyze(run, draws=1)))
