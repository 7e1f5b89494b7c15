"""Words follow numbers: what is claimed under every verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skinmnist.analysis.analyze import Analysis, find
from skinmnist.analysis.differences import COMPARISON_COLUMNS
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.sections import tables
from skinmnist.reporting.sections.answer import answer
from skinmnist.reporting.sections.certainty import forest_figure
from skinmnist.reporting.sections.conclusions import certainty, comparisons_with, evidence, probability
from skinmnist.reporting.sections.drawings_findings import forest_rows


@pytest.fixture(scope="module")
def analysis(record: RunRecord) -> Analysis:
    return find(record, draws=20)


def with_verdicts(analysis: Analysis, verdicts: dict[tuple[str, str], str], **values: Any) -> Analysis:
    """Give the comparisons with ``none`` other verdicts; the rest show nothing."""
    frame = analysis.comparisons.copy()
    frame["verdict"] = "no difference shown"
    for (sampler, model), verdict in verdicts.items():
        frame.loc[(frame["sampler"] == sampler) & (frame["model"] == model), "verdict"] = verdict
    return replace(analysis, comparisons=frame.assign(**values))


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
        (dict.fromkeys(ALL, "too few folds"), "all have too few folds to tell."),
        ({ALL[0]: "better"}, "1 shows a better macro-F1 and 5 show no difference."),
        (
            {ALL[0]: "better", ALL[1]: "better", ALL[2]: "worse"},
            "2 show a better macro-F1, 1 shows a worse one and 3 show no difference.",
        ),
    ],
)
def test_the_headline_counts_the_verdicts(record, analysis, verdicts, said) -> None:
    told = certainty(record, with_verdicts(analysis, verdicts))
    assert (
        told.headline
        == f"Of 6 comparisons of a sampler with training without one, judged by macro-F1, {said}"
    )


def test_every_sampler_is_named_under_its_verdict(record, analysis) -> None:
    changed = with_verdicts(analysis, {ALL[0]: "worse", ALL[3]: "better"})
    claim = next(c for c in certainty(record, changed).samplers if c.subject.startswith("Support"))
    gaps = comparisons_with(changed.comparisons).set_index(["sampler", "model"])["difference"]
    numbers = [f"{gaps[pair]:+.3f}".replace("-", "−") for pair in (ALL[3], ALL[0])]
    assert claim.words == (
        f"better with SMOTE on components ({numbers[0]}); "
        f"worse with RandomOverSampler on components ({numbers[1]})."
    )


def test_models_are_told_from_the_side_of_the_best(record, analysis) -> None:
    """A test is made once; seen from the other model, better is worse and the sign turns."""
    board = tables.leaderboard(record)
    best = board.iloc[0]
    frame = analysis.comparisons
    models = frame[(frame["question"] == "model") & (frame["metric"] == "macro_f1")]
    told = certainty(record, with_verdicts(analysis, {}))
    assert len(told.models) == 2
    words = " ".join(claim.words for claim in told.models)
    for row in models[(models["model"] == best["model"]) | (models["against"] == best["model"])].itertuples():
        gap = row.difference if row.model == best["model"] else -row.difference
        assert f"{row.sampler} ({gap:+.3f})".replace("-", "−") in words
    turned = models["against"] == best["model"]
    worse = analysis.comparisons.assign(
        verdict=np.where(analysis.comparisons.index.isin(models.index[turned]), "worse", "better")
    )
    told = certainty(record, replace(analysis, comparisons=worse))
    assert all(claim.words.startswith("better with") and ";" not in claim.words for claim in told.models)


def test_no_proof_of_equality_is_claimed(record, analysis) -> None:
    told = certainty(record, with_verdicts(analysis, {}, equivalent=0.5))
    assert "no proof of equality" in told.remarks[0]
    assert not [remark for remark in told.remarks if remark.startswith("Equal in practice")]
    equal = certainty(record, with_verdicts(analysis, {}, equivalent=0.96))
    assert any(remark.startswith("Equal in practice, by at least 95 % ") for remark in equal.remarks)
    shown = certainty(record, with_verdicts(analysis, dict.fromkeys(ALL, "better"), equivalent=0.0))
    assert not [remark for remark in shown.remarks if "no proof" in remark]


@pytest.mark.parametrize(
    ("verdict", "finding", "remark"),
    [
        ("better", "; better)", "The difference to training without a sampler holds: 95 % interval"),
        ("no difference shown", "; no difference shown)", "may be chance: 95 % interval"),
        ("too few folds", "; too few folds to tell)", "this run cannot tell: 5 folds in common, too few"),
        ("worse", "; not better in the folds they share)", "training without a sampler is better"),
    ],
)
def test_the_answer_says_whether_its_difference_holds(record, analysis, verdict, finding, remark) -> None:
    board = tables.leaderboard(record)
    best = board.iloc[0]
    assert best["sampler"] != "none"
    told = answer(record, board, with_verdicts(analysis, {(best["sampler"], best["model"]): verdict}))
    assert finding in told.finding
    assert remark in " ".join(told.remarks)
    control = next(text for text in told.remarks if text.startswith("Prior correction"))
    words = {"better": ": worse (", "worse": ": better ("}.get(verdict, f": {verdict} (")
    assert words in control


def test_the_answer_where_no_sampler_is_best(record, analysis) -> None:
    board = tables.leaderboard(record)
    board.loc[(board["sampler"] == "none") & (board["model"] == "cnn"), "macro_f1"] = 0.99
    board = board.sort_values("macro_f1", ascending=False)
    told = answer(record, board, with_verdicts(analysis, {("SMOTE", "cnn"): "worse"}))
    assert told.best == "Convolutional network without any remedy"
    assert "No sampler raised it" in " ".join(told.remarks)


def test_a_run_without_none_or_with_nothing_else(make_run) -> None:
    only = {"svm": {"title": "SVM", "space": "pixels"}}
    run = make_run(samplers=["SMOTE"], models=only, n_rows=80)
    assert certainty(run, find(run, draws=1)).headline.startswith(
        "This run has no training without a sampler"
    )


def test_nothing_finished(make_run) -> None:
    run = make_run(finished=lambda cell: False, status="pending", n_rows=80)
    assert certainty(run, find(run, draws=1)).headline == "No cell has finished, so nothing can be said yet."


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
    rows = forest_rows(record, analysis, "accuracy")
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


def test_comparisons_with_leaves_the_control_out() -> None:
    frame = pd.DataFrame([["sampler", s, "m", "none", "macro_f1"] for s in ("SMOTE", "prior_correction")])
    frame.columns = list(COMPARISON_COLUMNS[:5])
    assert comparisons_with(frame)["sampler"].tolist() == ["SMOTE"]
    assert len(comparisons_with(frame, control=True)) == 2
