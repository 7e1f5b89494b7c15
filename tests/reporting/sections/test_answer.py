"""The answer on top of the page says what its tests say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skinmnist.analysis.analyze import Analysis, analyze
from skinmnist.reporting.sections.answer import answer


@pytest.mark.parametrize(
    ("verdict", "finding", "remark"),
    [
        (
            "better",
            "is better than that of",
            "The difference to training without a sampler holds: 95 % interval",
        ),
        ("undecided", "is undecided: ", "holds is undecided: 95 % interval over 5 folds"),
        ("practically equal", "is practically equal to", "does not matter in practice: 95 % interval"),
        ("worse", "In the folds they share", "training without a sampler is better"),
    ],
)
def test_the_answer_says_whether_its_difference_holds(
    with_verdicts, analysis, verdict, finding, remark
) -> None:
    best = analysis.leaderboard.iloc[0]
    assert best["sampler"] != "none"
    found = answer(with_verdicts(analysis, {(best["sampler"], best["model"]): verdict}))
    assert finding in found.verdict
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
    assert found.verdict.startswith("No sampler raised its macro-F1. ")


def recall_of(
    analysis: Analysis, values: dict[tuple[str, str], float], accuracy: dict[str, float]
) -> Analysis:
    """Give pairs another recall of melanoma, and samplers another accuracy; all other recalls are 0.1."""
    recalls, board = analysis.recalls.copy(), analysis.leaderboard.copy()
    recalls.loc[recalls["class"] == "mel", "mean"] = 0.1
    for (sampler, model), value in values.items():
        of_pair = (recalls["sampler"] == sampler) & (recalls["model"] == model) & (recalls["class"] == "mel")
        recalls.loc[of_pair, "mean"] = value
    for sampler, value in accuracy.items():
        board.loc[board["sampler"] == sampler, "accuracy"] = value
    changed = replace(analysis, leaderboard=board)
    changed.__dict__["recalls"] = recalls
    return changed


def test_the_answer_says_what_is_missed_and_what_missing_fewer_costs(analysis) -> None:
    best = analysis.leaderboard.iloc[0]
    pair, other = (best["sampler"], best["model"]), ("none", "svm")
    for own, fewest, caveat, alternative in (
        (0.41, 0.72, "but misses 6 of 10 melanomas", "misses 3 of 10, with accuracy 12 points lower."),
        (0.97, 0.99, "and misses 3 of 100 melanomas", "misses 1 of 100, with accuracy 12 points lower."),
        (0.82, 0.81, "and misses 2 of 10 melanomas", "No pair misses clearly fewer."),
    ):
        found = answer(recall_of(analysis, {pair: own, other: fewest}, {pair[0]: 0.8, "none": 0.68}))
        assert caveat in found.statement
        assert found.alternative.endswith(alternative)
        assert alternative.startswith("No") or found.alternative.startswith(
            "Support vector machine (RBF) without"
        )


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
        assert (gap in " ".join(answer(changed).remarks)) == expected
