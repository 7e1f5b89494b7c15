"""The answer on top of the page says what its tests say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skinmnist.analysis.analyze import analyze
from skinmnist.reporting.sections.answer import answer


@pytest.mark.parametrize(
    ("verdict", "finding", "remark"),
    [
        ("better", "; better)", "The difference to training without a sampler holds: 95 % interval"),
        ("undecided", "; undecided)", "holds is undecided: 95 % interval over 5 folds"),
        ("practically equal", "; practically equal)", "does not matter in practice: 95 % interval"),
        ("worse", "; not better in the folds they share)", "training without a sampler is better"),
    ],
)
def test_the_answer_says_whether_its_difference_holds(
    with_verdicts, analysis, verdict, finding, remark
) -> None:
    best = analysis.leaderboard.iloc[0]
    assert best["sampler"] != "none"
    found = answer(with_verdicts(analysis, {(best["sampler"], best["model"]): verdict}))
    assert finding in found.statement
    assert remark in " ".join(found.remarks)
    control = next(text for text in found.remarks if text.startswith("Prior correction"))
    words = {"better": ": worse (", "worse": ": better ("}.get(verdict, f": {verdict} (")
    assert words in control


def test_the_answer_where_no_sampler_is_best(with_verdicts, analysis) -> None:
    board = analysis.leaderboard.copy()
    board.loc[(board["sampler"] == "none") & (board["model"] == "cnn"), "macro_f1"] = 0.99
    board = board.sort_values("macro_f1", ascending=False)
    changed = replace(analysis, leaderboard=board)
    found = answer(with_verdicts(changed, {("SMOTE", "cnn"): "worse"}))
    assert found.best == "Convolutional network without a sampler"
    assert "No sampler raised it" in " ".join(found.remarks)


def test_the_answer_sets_clinical_columns_beside_the_same_without(make_run) -> None:
    models = {
        "cnn": {"title": "Net", "space": "pixels"},
        "cnn+clinical": {"title": "Net + age", "space": "pixels", "base": "cnn", "clinical": ["age"]},
    }
    run = make_run(models=models, samplers=["none"])
    analysis = analyze(run, draws=1)
    board = analysis.leaderboard.copy()
    board.loc[board["model"] == "cnn", ["macro_f1", "macro_f1_sd"]] = 0.8, 0.01
    for pair, expected in ((0.825, True), (0.7, False)):
        board.loc[board["model"] == "cnn+clinical", "macro_f1"] = pair
        changed = replace(analysis, leaderboard=board.sort_values("macro_f1", ascending=False))
        gap = "0.025 above the same training without clinical columns (0.800 ± 0.010)"
        assert (gap in answer(changed).statement) == expected
