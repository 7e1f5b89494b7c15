"""Summaries against a few lines that compute them another way."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score, roc_auc_score

from skinmnist.analysis import summaries
from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.summaries import (
    CHANGED,
    COST,
    LEARNED,
    LEARNED_AND_COST,
    MEASURED,
    MOVED,
    MOVED_AT_MOST,
    NOTHING_CHANGED,
    OPEN,
    Effect,
    effects,
)
from skinmnist.experiment.metrics import best_pair
from skinmnist.experiment.run_folder.record import RunRecord

HAM = ["akiec", "bcc", "bkl", "df", "nv", "vasc", "mel"]


def scores_of(rows: pd.DataFrame) -> dict[str, float]:
    labels, predicted = rows["label"], rows["predicted"]
    codes = range(len(HAM))
    aucs = [roc_auc_score(labels == code, rows[f"p_{HAM[code]}"]) for code in codes]
    return {
        "macro_f1": f1_score(labels, predicted, average="macro"),
        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
        "accuracy": accuracy_score(labels, predicted),
        "macro_auc": float(np.mean(aucs)),
        "recall_mel": recall_score(labels, predicted, labels=[6], average="macro"),
    }


def test_leaderboard_is_the_mean_and_spread_over_folds(record: RunRecord) -> None:
    board = summaries.leaderboard(record)
    pairs = board[~board["reference"]]
    assert len(pairs) == 9
    for row in pairs.to_dict("records"):
        p = record.predictions
        p = p[(p["sampler"] == row["sampler"]) & (p["model"] == row["model"])]
        by_fold = pd.DataFrame([scores_of(rows) for _, rows in p.groupby("fold")])
        for metric in by_fold:
            assert row[metric] == pytest.approx(by_fold[metric].mean(), abs=1e-12)
            assert row[f"{metric}_sd"] == pytest.approx(np.std(by_fold[metric], ddof=1), abs=1e-12)
        assert row["seconds"] == pytest.approx(0.01 + np.mean([1.5, 2.5, 3.5, 4.5, 5.5]) + 0.25)
        assert (row["cells"], row["planned"], row["megabytes"]) == (5, 5, 210.0)


def test_leaderboard_falls(record: RunRecord) -> None:
    board = summaries.leaderboard(record)
    assert board["macro_f1"].is_monotonic_decreasing
    assert set(board["sampler"]) == {"none", "RandomOverSampler", "SMOTE", ""}


def test_majority_row_answers_the_most_frequent_class_of_the_other_folds(record: RunRecord) -> None:
    one = record.predictions
    one = one[(one["sampler"] == "none") & (one["model"] == "svm")]
    by_fold = []
    for fold, held_out in one.groupby("fold"):
        answer = one.loc[one["fold"] != fold, "label"].mode()[0]
        truth = held_out["label"]
        guess = np.full(len(truth), answer)
        f1 = f1_score(truth, guess, average="macro", zero_division=0)
        by_fold.append((f1, accuracy_score(truth, guess)))
    board = summaries.leaderboard(record)
    row = board[board["reference"]].iloc[0]
    assert row["model"] == "always nv"
    assert row["macro_f1"] == pytest.approx(np.mean([f1 for f1, _ in by_fold]), abs=1e-12)
    assert row["macro_f1_sd"] == pytest.approx(np.std([f1 for f1, _ in by_fold], ddof=1), abs=1e-12)
    assert row["accuracy"] == pytest.approx(np.mean([a for _, a in by_fold]), abs=1e-12)
    assert row["balanced_accuracy"] == pytest.approx(1 / 7)
    assert (row["macro_auc"], row["recall_mel"]) == (0.5, 0.0)
    assert np.isnan(row["seconds"])


def test_majority_comes_from_the_training_rows_of_a_fold(make_run) -> None:
    record = make_run(
        class_names=["a", "b"],
        shares=[0.3, 0.7],
        finished=lambda cell: cell.fold == 0 and cell.sampler == "none",
        status="pending",
    )
    guess = summaries.majority_predictions(record)
    assert set(guess["predicted"]) == {1}
    assert guess["p_b"].iloc[0] == pytest.approx(record.results[0].natural_mix[1])


def test_majority_does_not_depend_on_the_rows_that_a_model_sets_aside(record: RunRecord) -> None:
    fewer = [
        replace(one, counts_before=np.ones(7)) if one.cell.model == "cnn" else one for one in record.results
    ]
    guess = summaries.majority_predictions(record)
    for results in (fewer, fewer[::-1]):
        pd.testing.assert_frame_equal(
            summaries.majority_predictions(replace(record, results=tuple(results))), guess
        )


def test_melanoma_has_no_column_where_there_is_no_melanoma(make_run) -> None:
    board = summaries.leaderboard(make_run(class_names=["a", "b", "c"]))
    assert not [name for name in board.columns if name.startswith("recall")]


def test_confusion_counts_every_held_out_picture(record: RunRecord) -> None:
    counts = summaries.confusion_counts(record)
    assert list(counts) == list(dict.fromkeys((r.cell.sampler, r.cell.model) for r in record.results))
    rows = record.predictions
    rows = rows[(rows["sampler"] == "SMOTE") & (rows["model"] == "cnn")]
    crossed = pd.crosstab(rows["label"], rows["predicted"]).reindex(
        index=range(7), columns=range(7), fill_value=0
    )
    assert np.array_equal(counts["SMOTE", "cnn"], crossed.to_numpy())
    assert counts["SMOTE", "cnn"].sum() == 600


def test_recalls_agree_with_the_confusion_of_each_fold(record: RunRecord) -> None:
    recalls = summaries.recalls(record).set_index(["sampler", "model", "class"])
    rows = record.predictions
    rows = rows[(rows["sampler"] == "none") & (rows["model"] == "random_forest") & (rows["label"] == 2)]
    by_fold = (rows["predicted"] == 2).groupby(rows["fold"]).mean()
    mean, spread = recalls.loc[("none", "random_forest", "bkl")]
    assert mean == pytest.approx(by_fold.mean())
    assert spread == pytest.approx(by_fold.std())


def test_resampled_counts_leave_out_none_and_tell_spaces_apart(record: RunRecord) -> None:
    counts = summaries.resampled_counts(record)
    assert list(counts[["sampler", "space"]].drop_duplicates().itertuples(index=False, name=None)) == [
        ("RandomOverSampler", "components"),
        ("RandomOverSampler", "pixels"),
        ("SMOTE", "components"),
        ("SMOTE", "pixels"),
    ]
    before = np.mean([result.counts_before for result in record.results], axis=0)
    own = counts[(counts["sampler"] == "SMOTE") & (counts["space"] == "pixels")]
    assert own["before"].to_list() == pytest.approx(before.tolist())
    assert counts.groupby(["sampler", "space"])["after"].nunique().eq(1).all()


def test_the_best_pair_is_the_first_trained_row_of_the_leaderboard(record: RunRecord) -> None:
    board = summaries.leaderboard(record)
    best = summaries.best_pairs(board)
    assert set(best["model"]) == {"svm", "random_forest", "cnn"}
    assert tuple(best.iloc[0][["sampler", "model"]]) == best_pair(record.scores)
    for row in best.itertuples():
        assert row.macro_f1 == board.loc[board["model"] == row.model, "macro_f1"].max()


def test_curves_have_a_row_for_each_point(record: RunRecord) -> None:
    curves = summaries.training_curves(record)
    assert len(curves) == 3 * 5 * 40
    assert set(curves["model"]) == {"cnn"}
    assert curves["validation_loss"].isna().all()


def test_validation_sets_have_curves_of_their_own(record: RunRecord) -> None:
    validated = [
        replace(result, history=result.history | {"validation_loss": np.linspace(2, 1, 40)})
        if result.history
        else result
        for result in record.results
    ]
    curves = summaries.training_curves(replace(record, results=tuple(validated)))
    assert curves["validation_loss"].tolist() == np.tile(np.linspace(2, 1, 40), 15).tolist()


BETTER, WORSE, EQUAL, UNDECIDED = "better", "worse", "practically equal", "undecided"


def concluded(ranking, own, equal):
    """Return the conclusion from a verdict on ranking, two as trained, two at equal operating points."""
    words = [ranking, *own, *(equal or (None, None))]
    rows = {of: {"verdict": word} for of, word in zip(MEASURED, words, strict=True) if word}
    return Effect("SMOTE", "svm", rows).conclusion


@pytest.mark.parametrize(
    ("ranking", "own", "equal", "words"),
    [
        (EQUAL, (BETTER, BETTER), (EQUAL, EQUAL), MOVED),
        (EQUAL, (EQUAL, WORSE), (EQUAL, EQUAL), MOVED),
        (EQUAL, (EQUAL, EQUAL), (EQUAL, EQUAL), NOTHING_CHANGED),
        (EQUAL, (UNDECIDED, EQUAL), (EQUAL, EQUAL), MOVED_AT_MOST),
        (EQUAL, (BETTER, BETTER), (EQUAL, UNDECIDED), CHANGED),
        (UNDECIDED, (WORSE, BETTER), (UNDECIDED, UNDECIDED), CHANGED),
        (UNDECIDED, (UNDECIDED, EQUAL), (UNDECIDED, EQUAL), OPEN),
        (BETTER, (UNDECIDED, UNDECIDED), (UNDECIDED, UNDECIDED), LEARNED),
        (EQUAL, (BETTER, BETTER), (UNDECIDED, BETTER), LEARNED),
        (WORSE, (BETTER, BETTER), (EQUAL, EQUAL), COST),
        (WORSE, (BETTER, BETTER), (BETTER, EQUAL), LEARNED_AND_COST),
        (None, (BETTER, BETTER), (EQUAL, EQUAL), CHANGED),
        (None, (UNDECIDED, UNDECIDED), (), OPEN),
    ],
)
def test_the_conclusions(ranking, own, equal, words):
    assert concluded(ranking, own, equal) == words


def test_nothing_is_concluded_that_no_verdict_carries():
    words = (BETTER, WORSE, EQUAL, UNDECIDED)
    for ranking, *rest in product((None, *words), *[words] * 4):
        own, equal = rest[:2], rest[2:]
        found, judged = concluded(ranking, own, equal), [ranking, *equal]
        assert (BETTER in judged) == (found in (LEARNED, LEARNED_AND_COST))
        assert (WORSE in judged) == (found in (COST, LEARNED_AND_COST))
        if found in (MOVED, NOTHING_CHANGED, MOVED_AT_MOST):
            assert judged == [EQUAL] * 3
        if found in (MOVED, CHANGED):
            assert {BETTER, WORSE} & set(own)
        # As trained, a gain alone teaches nothing.
        assert concluded(ranking, (UNDECIDED, UNDECIDED), equal) == found or found in (
            MOVED,
            CHANGED,
            NOTHING_CHANGED,
        )


def test_a_run_has_an_effect_of_every_sampler_on_every_model(record):
    rows = analyze(record, draws=1).comparisons
    found = effects(rows)
    assert {(one.sampler, one.model) for one in found} == {
        (sampler, model)
        for sampler in ("RandomOverSampler", "SMOTE")
        for model in ("svm", "random_forest", "cnn")
    }
    for one in found:
        assert list(one.rows) == [
            ("natural_prior", "macro_auc"),
            ("as_trained", "macro_f1"),
            ("as_trained", "balanced_accuracy"),
            ("tuned_macro_f1", "macro_f1"),
            ("tuned_balanced_accuracy", "balanced_accuracy"),
        ]
        for measure, row in one.rows.items():
            assert (row["rule"], row["metric"]) == measure
            assert (row["question"], row["against"], row["tests"]) == ("sampler", "none", 6)
            assert (row["sampler"], row["model"]) == (one.sampler, one.model)
