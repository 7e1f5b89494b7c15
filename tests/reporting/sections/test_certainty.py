"""Words follow numbers: what is claimed under every verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.operating_points import PRIOR_CORRECTION
from skinmnist.analysis.significance import detectable_difference
from skinmnist.analysis.summaries import comparisons_with, leaderboard, with_control
from skinmnist.reporting.sections.certainty import (
    certainty,
    families,
    forest_figure,
    forest_rows,
)

ALL = [
    (sampler, model)
    for sampler in ("RandomOverSampler", "SMOTE")
    for model in ("svm", "random_forest", "cnn")
]


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ({}, "All # are undecided (macro-F1 as trained)."),
        (dict.fromkeys(ALL, "better"), "All # show a better macro-F1 (as trained)."),
        (dict.fromkeys(ALL, "worse"), "All # show a worse macro-F1 (as trained)."),
        (dict.fromkeys(ALL, "practically equal"), "All # are practically equal (macro-F1 as trained)."),
        ({ALL[0]: "better"}, "Of #, 1 shows a better macro-F1 and 5 are undecided (as trained)."),
        (
            {ALL[0]: "better", ALL[1]: "better", ALL[2]: "worse", ALL[3]: "practically equal"},
            "Of #, 2 show a better macro-F1, 1 shows a worse one, 1 is practically equal and 2 are undecided "
            "(as trained).",
        ),
    ],
)
def test_the_headline_counts_the_verdicts(with_verdicts, record, analysis, verdicts, said) -> None:
    found = certainty(with_verdicts(analysis, verdicts))
    assert found.headline == said.replace("#", "6 comparisons of a sampler with no sampler")


def test_the_families_and_what_they_can_show(analysis) -> None:
    laid = families(analysis)
    asked = [(row["question"], row["metric"], row["rule"]) for row in laid]
    assert len(set(asked)) == len(asked) == 8 + 5 + 5 + 8
    tests = {row["question"]: row["tests"] for row in laid}
    assert tests == {
        "samplers against no sampler": "6",
        "prior correction against no sampler": "3",
        "samplers against prior correction": "6",
        "models": "9",
    }
    rows = analysis.comparisons
    first = rows[rows["family"] == "samplers against none: macro_f1 as_trained"]
    assert laid[0]["now"] == f"{((first['high'] - first['low']) / 2).median():.3f}"
    assert laid[0]["then"] == f"{detectable_difference(first, 5, 15):.3f}"


def test_models_are_found_from_the_side_of_the_best(with_verdicts, record, analysis) -> None:
    """A test is made once; seen from the other model, better is worse and the sign turns."""
    board = leaderboard(record)
    best = board.iloc[0]
    frame = analysis.comparisons[analysis.comparisons["rule"] == "as_trained"]
    models = frame[(frame["question"] == "model") & (frame["metric"] == "macro_f1")]
    found = certainty(with_verdicts(analysis, {}))
    assert len(found.models) == 2
    words = " ".join(claim.words for claim in found.models)
    for row in models[(models["model"] == best["model"]) | (models["against"] == best["model"])].itertuples():
        gap = row.difference if row.model == best["model"] else -row.difference
        name = "without a sampler" if row.sampler == "none" else row.sampler
        assert f"{name} ({gap:+.3f} [".replace("-", "−") in words
    turned = models["against"] == best["model"]
    worse = analysis.comparisons.assign(
        verdict=np.where(analysis.comparisons.index.isin(models.index[turned]), "worse", "better")
    )
    found = certainty(replace(analysis, comparisons=worse))
    assert all(
        claim.words.startswith(("better with ", "better without a sampler ")) and ";" not in claim.words
        for claim in found.models
    )


def test_the_page_says_what_it_could_have_shown_and_what_repeats_would(analysis) -> None:
    rows = comparisons_with(analysis.comparisons)
    now, then = (f"{detectable_difference(rows, 5, planned):.3f}" for planned in (None, 15))
    remark = certainty(analysis).remarks[0]
    assert remark.startswith("Undecided is no proof of equality. Over 5 folds and 6 comparisons, ")
    assert f"extend {now} or more" in remark
    assert f"with --repeats 3 and the same spread it would be {then}." in remark


def test_a_run_of_many_repeats_is_told_what_thrice_as_many_show(analysis) -> None:
    info = replace(analysis.record.info, repeats=4)
    remark = certainty(replace(analysis, record=replace(analysis.record, info=info))).remarks[0]
    assert "with --repeats 12 " in remark


def test_a_run_without_none_or_with_nothing_else(make_run) -> None:
    only = {"svm": {"title": "SVM", "space": "pixels"}}
    run = make_run(samplers=["SMOTE"], models=only, n_rows=80)
    assert certainty(analyze(run, draws=1)).headline.startswith("This run has no training without a sampler")


def test_nothing_finished(make_run) -> None:
    run = make_run(finished=lambda cell: False, status="pending", n_rows=80)
    assert certainty(analyze(run, draws=1)).headline == "No cell has finished, so nothing can be said yet."


@pytest.mark.parametrize("narrow", [False, True])
def test_the_forest_plot_draws_what_the_tables_say(record, analysis, narrow: bool) -> None:
    rows = forest_rows(analysis, "accuracy")
    assert len(rows) == 9
    info = record.info.grid
    figure = forest_figure(rows, info.samplers, list(info.models), "accuracy", narrow)
    lines = figure.axes[0].lines
    thick = [tuple(line.get_xdata()) for line in lines if line.get_linewidth() == 9]
    subsample = [tuple(line.get_xdata()) for line in lines if line.get_linewidth() == 1.8]
    assert thick == [tuple(ends) for ends in rows[["low", "high"]].to_numpy()]
    assert subsample == [tuple(ends) for ends in rows[["lesion_low", "lesion_high"]].to_numpy()]
    written = [text.get_text() for text in figure.axes[0].texts]
    assert [text for text in written if text in set(rows["verdict"])] == rows["verdict"].tolist()
    over = analysis.difference_intervals
    row = over[(over["metric"] == "accuracy") & (over["sampler"] == "SMOTE") & (over["model"] == "cnn")]
    assert tuple(row[["low", "high"]].to_numpy()[0]) in subsample


def test_controls_are_shown_beside_the_samplers_and_not_counted_with_them(analysis) -> None:
    rows = analysis.comparisons
    shown, counted = with_control(rows), comparisons_with(rows)
    assert set(shown["sampler"]) - set(counted["sampler"]) == {PRIOR_CORRECTION}
    assert set(counted["question"]) == {"sampler"}
    assert shown.groupby("model", sort=False).ngroups == shown["model"].ne(shown["model"].shift()).sum()
    over_control = comparisons_with(rows, against=PRIOR_CORRECTION)
    assert len(over_control) == len(counted)
    assert set(over_control["question"]) == {"control"}
