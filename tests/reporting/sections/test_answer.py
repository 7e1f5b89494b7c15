"""The answer on top of the page says what its tests say."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from skinmnist.analysis.analyze import Analysis, analyze
from skinmnist.analysis.checks import CHECKS, Concern
from skinmnist.analysis.standing import Beaten, Lead
from skinmnist.experiment.cells import Cell, CellFailure
from skinmnist.reporting.sections import answer as module
from skinmnist.reporting.sections.answer import answer, failed_cells


@pytest.mark.parametrize(
    ("verdict", "finding", "remark"),
    [
        (
            "better",
            "As trained, macro-F1 is better than that of the same model without a sampler for ",
            "The difference to training without a sampler holds: 95 % interval",
        ),
        ("undecided", "(6 comparisons: all undecided)", "holds is undecided: 95 % interval over 5 folds"),
        (
            "practically equal",
            "(6 comparisons: 1 practically equal, 5 undecided)",
            "does not matter in practice: 95 % interval",
        ),
        ("worse", "(6 comparisons: 1 worse, 5 undecided)", "training without a sampler is better"),
    ],
)
def test_the_answer_says_whether_samplers_helped(with_verdicts, analysis, verdict, finding, remark) -> None:
    best = analysis.leaderboard.iloc[0]
    assert best["sampler"] != "none"
    found = answer(with_verdicts(analysis, {(best["sampler"], best["model"]): verdict}))
    assert finding in found.verdict
    none = "no sampler is shown to raise macro-F1 above that of the same model without one"
    assert (none in found.verdict) == (verdict != "better")
    assert remark in " ".join(found.remarks)
    control = next(text for text in found.remarks if text.startswith("Prior correction"))
    words = {"better": ": worse (", "worse": ": better ("}.get(verdict, f": {verdict} (")
    assert words in control


def test_what_a_sampler_taught_is_told_apart_from_a_moved_threshold(analysis) -> None:
    rows = analysis.comparisons.assign(verdict="undecided")
    assert "or to teach it more than moving" in answer(replace(analysis, comparisons=rows)).verdict
    own = (rows["sampler"] == "SMOTE") & (rows["model"] == "svm") & (rows["rule"] == "natural_prior")
    rows.loc[own, "verdict"] = "better"
    words = answer(replace(analysis, comparisons=rows)).verdict
    assert words.endswith("SMOTE on components with Support vector machine (RBF) learned something.")


def pretend(monkeypatch, analysis, verdict="better", codes=(), beaten=()):
    """Give the two first pairs another verdict, the checks other findings, and a constant prediction wins."""
    pairs = analysis.leaderboard[~analysis.leaderboard["reference"]][["sampler", "model"]]
    first, second = pairs.head(2).itertuples(index=False, name=None)
    found = Lead(first, second, None if verdict is None else {"verdict": verdict})
    monkeypatch.setattr(module, "lead", lambda _: found)
    monkeypatch.setattr(
        module, "not_above_majority", lambda _: Beaten("nv", 0.12, dict.fromkeys(beaten, 0.1))
    )
    changed = replace(analysis)
    changed.__dict__["recalls"] = analysis.recalls
    changed.__dict__["concerns"] = [Concern(check, "") for check in CHECKS if check.code in codes]
    return changed, first


def test_no_winner_that_the_checks_withdraw(monkeypatch, analysis) -> None:
    board = analysis.leaderboard[~analysis.leaderboard["corrected"]]
    first, second = (f"({value:.3f})" for value in board["macro_f1"].head(2))
    changed, pair = pretend(monkeypatch, analysis)
    found = answer(changed)
    assert " has the highest macro-F1 " in found.headline
    assert second not in found.details
    for verdict, headline in (
        ("undecided", "No pair is shown to be best."),
        ("worse", "No pair is shown to be best."),
        (None, "No pair is shown to be best."),
        ("practically equal", "The first two pairs are practically equal in macro-F1."),
    ):
        found = answer(pretend(monkeypatch, analysis, verdict)[0])
        assert found.headline == headline
        assert found.details.index(first) < found.details.index(second)
        assert found.missed.startswith("The first misses ")
    found = answer(pretend(monkeypatch, analysis, codes=["SKM015", "SKM016"])[0])
    assert found.headline == "The checks report errors (SKM016), so no pair can be called best."
    assert second in found.details
    assert "the highest macro-F1" in answer(pretend(monkeypatch, analysis, codes=["SKM015"])[0]).headline
    found = answer(pretend(monkeypatch, analysis, beaten=[pair])[0])
    assert "is not shown to be better than always predicting nv (0.120)." in found.headline


def test_an_accuracy_below_that_of_the_largest_class_is_said(monkeypatch, analysis) -> None:
    for verdict, accuracies, words in (
        ("better", (0.6, 0.7), "Its accuracy, 0.600, is below that of always nv (0.650)."),
        ("better", (0.65, 0.6), ""),
        ("undecided", (0.7, 0.6), "The accuracy of the second, 0.600, is below that of always nv (0.650)."),
        (
            "undecided",
            (0.6, 0.5),
            "The accuracy of both, 0.600 and 0.500, is below that of always nv (0.650).",
        ),
    ):
        board = analysis.leaderboard.copy()
        board.loc[board["reference"], "accuracy"] = 0.65
        trained = board.index[~board["reference"] & ~board["corrected"]]
        board.loc[trained[:2], "accuracy"] = accuracies
        changed, _ = pretend(monkeypatch, replace(analysis, leaderboard=board), verdict)
        assert answer(changed).details.endswith(words)
        assert bool(words) == ("always nv" in answer(changed).details)


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


def test_the_answer_says_what_is_missed_and_what_missing_fewer_costs(monkeypatch, analysis) -> None:
    best = analysis.leaderboard.iloc[0]
    pair, other = (best["sampler"], best["model"]), ("none", best["model"])
    for own, fewest, caveat, alternative in (
        (0.41, 0.72, "but misses 6 of 10 melanomas", "misses 3 of 10, with accuracy 12 points lower"),
        (0.97, 0.99, "and misses 3 of 100 melanomas", "misses 1 of 100, with accuracy 12 points lower"),
        (0.82, 0.81, "and misses 2 of 10 melanomas", "No other training of this model misses clearly fewer."),
    ):
        changed = recall_of(analysis, {pair: own, other: fewest}, {pair[0]: 0.9, "none": 0.78})
        found = answer(pretend(monkeypatch, changed)[0])
        assert caveat in found.headline
        assert alternative in found.missed
        other_way = f"Without a sampler, the same model {alternative}; with its threshold moved instead, "
        assert found.missed.startswith(alternative if alternative.startswith("No") else other_way)


def test_folds_of_a_failed_pair_are_one_range(record) -> None:
    cells = [Cell("SMOTE", "svm", repeat, fold) for repeat, fold in product(range(2), range(5))]
    cells += [Cell("SMOTE", "cnn", 0, fold) for fold in (0, 1, 2, 4)]
    failures = tuple(CellFailure(cell, "no luck") for cell in cells)
    for repeats, shown in ((1, ["folds 1–5", "folds 1–3 and 5"]), (2, ["folds 1–5 of repeats 1–2", None])):
        kept = [one for one in failures if one.cell.repeat < repeats]
        changed = replace(record, failures=tuple(kept), info=replace(record.info, repeats=repeats))
        found = [cell["places"] for cell in failed_cells(changed)]
        assert found == [shown[0], shown[1] or "folds 1–3 and 5 of repeat 1"]


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
