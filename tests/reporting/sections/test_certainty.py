"""Words follow numbers: what is claimed under every verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.significance import COMPARISON_COLUMNS
from skinmnist.analysis.summaries import leaderboard
from skinmnist.reporting.sections.certainty import (
    certainty,
    comparisons_with,
    evidence,
    forest_figure,
    forest_rows,
    probability,
)

ALL = [
    (sampler, model)
    for sampler in ("RandomOverSampler", "SMOTE")
    for model in ("svm", "random_forest", "cnn")
]


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ({}, "all show no difference."),
        (dict.fromkeys(ALL, "better"), "all show a better macro-F1."),
        (dict.fromkeys(ALL, "worse"), "all show a worse macro-F1."),
        (dict.fromkeys(ALL, "too few folds"), "all have too few folds to say."),
        ({ALL[0]: "better"}, "1 shows a better macro-F1 and 5 show no difference."),
        (
            {ALL[0]: "better", ALL[1]: "better", ALL[2]: "worse"},
            "2 show a better macro-F1, 1 shows a worse one and 3 show no difference.",
        ),
    ],
)
def test_the_headline_counts_the_verdicts(with_verdicts, record, analysis, verdicts, said) -> None:
    found = certainty(with_verdicts(analysis, verdicts))
    assert (
        found.headline
        == f"Of 6 comparisons of a sampler with training without one, judged by macro-F1, {said}"
    )


def test_every_sampler_is_named_under_its_verdict(with_verdicts, record, analysis) -> None:
    changed = with_verdicts(analysis, {ALL[0]: "worse", ALL[3]: "better"})
    claim = next(c for c in certainty(changed).samplers if c.subject.startswith("Support"))
    gaps = comparisons_with(changed.comparisons).set_index(["sampler", "model"])["difference"]
    numbers = [f"{gaps[pair]:+.3f}".replace("-", "−") for pair in (ALL[3], ALL[0])]
    assert claim.words == (
        f"better with SMOTE on components ({numbers[0]}); "
        f"worse with RandomOverSampler on components ({numbers[1]})."
    )


def test_models_are_found_from_the_side_of_the_best(with_verdicts, record, analysis) -> None:
    """A test is made once; seen from the other model, better is worse and the sign turns."""
    board = leaderboard(record)
    best = board.iloc[0]
    frame = analysis.comparisons
    models = frame[(frame["question"] == "model") & (frame["metric"] == "macro_f1")]
    found = certainty(with_verdicts(analysis, {}))
    assert len(found.models) == 2
    words = " ".join(claim.words for claim in found.models)
    for row in models[(models["model"] == best["model"]) | (models["against"] == best["model"])].itertuples():
        gap = row.difference if row.model == best["model"] else -row.difference
        assert f"{row.sampler} ({gap:+.3f})".replace("-", "−") in words
    turned = models["against"] == best["model"]
    worse = analysis.comparisons.assign(
        verdict=np.where(analysis.comparisons.index.isin(models.index[turned]), "worse", "better")
    )
    found = certainty(replace(analysis, comparisons=worse))
    assert all(claim.words.startswith("better with") and ";" not in claim.words for claim in found.models)


def test_no_proof_of_equality_is_claimed(with_verdicts, record, analysis) -> None:
    found = certainty(with_verdicts(analysis, {}, equivalent=0.5))
    assert "no proof of equality" in found.remarks[0]
    assert not [remark for remark in found.remarks if remark.startswith("Equal in practice")]
    equal = certainty(with_verdicts(analysis, {}, equivalent=0.96))
    assert any(remark.startswith("Equal in practice, by at least 95 % ") for remark in equal.remarks)
    shown = certainty(with_verdicts(analysis, dict.fromkeys(ALL, "better"), equivalent=0.0))
    assert not [remark for remark in shown.remarks if "no proof" in remark]


def test_a_run_without_none_or_with_nothing_else(make_run) -> None:
    only = {"svm": {"title": "SVM", "space": "pixels"}}
    run = make_run(samplers=["SMOTE"], models=only, n_rows=80)
    assert certainty(analyze(run, draws=1)).headline.startswith("This run has no training without a sampler")


def test_nothing_finished(make_run) -> None:
    run = make_run(finished=lambda cell: False, status="pending", n_rows=80)
    assert certainty(analyze(run, draws=1)).headline == "No cell has finished, so nothing can be said yet."


def test_evidence_and_probabilities(analysis) -> None:
    row = comparisons_with(analysis.comparisons).iloc[0].copy()
    row["low"], row["high"], row["p_holm"], row["tests"] = -0.0034, 0.0702, 0.2591, 9
    row["verdict"] = "no difference shown"
    assert evidence(row) == (
        "95 % interval over 5 folds from −0.003 to +0.070, p = 0.259 after correction for 9 comparisons"
    )
    assert (probability(0.0001), probability(float("nan")), probability(0.04)) == ("< 0.001", "–", "= 0.040")


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


def test_comparisons_with_leaves_prior_correction_out() -> None:
    frame = pd.DataFrame([["sampler", s, "m", "none", "macro_f1"] for s in ("SMOTE", "prior_correction")])
    frame.columns = list(COMPARISON_COLUMNS[:5])
    assert comparisons_with(frame)["sampler"].tolist() == ["SMOTE"]
    assert len(comparisons_with(frame, corrected=True)) == 2
