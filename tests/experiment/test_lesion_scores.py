"""Scores by lesion, recomputed from the predictions with other means, and the runs that have none."""

import csv
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score

from skinmnist import make_lesions, run_comparison
from skinmnist.analysis.analyze import analyze
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.lesion_scores import average_lesions, scored_lesions
from skinmnist.reporting.page import render_page
from skinmnist.reporting.tables import read_page

CELL = ["sampler", "model", "repeat", "fold"]


pytestmark = pytest.mark.usefixtures("bare_figures")


@pytest.fixture(scope="module")
def table() -> PixelTable:
    return make_lesions(240, size=8, random_state=2)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("by_lesion") / "run"
    models = ["logistic_regression", "dummy"]
    return run_comparison(table, ["none", "RandomOverSampler"], models, folds=2, jobs=1, out=out)


@pytest.fixture(scope="module")
def analysis(run):
    return analyze(run, draws=200)


def by_lesion(predictions, lesions):
    """Average the rows of each lesion with pandas."""
    rows = predictions.assign(lesion=lesions[predictions["row"]])
    kinds = {name: "mean" for name in rows if name.startswith("p_")}
    return rows.groupby([*CELL, "lesion"], sort=False).agg({"label": "first", **kinds}).reset_index()


def of_cells(scores, metric):
    return scores[scores["metric"] == metric].set_index(CELL)["value"].to_dict()


def test_scores_are_those_of_averaged_pictures(run, table):
    found = {
        name: of_cells(run.scores, f"lesion_{name}")
        for name in ("accuracy", "balanced_accuracy", "macro_auc")
    }
    losses, recalls = of_cells(run.scores, "lesion_log_loss"), of_cells(run.scores, "lesion_recall_nv")
    nv = table.class_names.index("nv")
    for cell, rows in by_lesion(run.predictions, table.lesion_ids).groupby(CELL):
        shares = rows.filter(regex="^p_").to_numpy().round(12)
        truth, called = rows["label"].to_numpy(int), shares.argmax(axis=1)
        assert found["accuracy"][cell] == pytest.approx(accuracy_score(truth, called))
        assert found["balanced_accuracy"][cell] == pytest.approx(balanced_accuracy_score(truth, called))
        areas = [roc_auc_score(truth == code, shares[:, code]) for code in range(7)]
        assert found["macro_auc"][cell] == pytest.approx(np.mean(areas))
        assert losses[cell] == pytest.approx(log_loss(truth, shares, labels=range(7)))
        assert recalls[cell] == pytest.approx((called[truth == nv] == nv).mean())


def test_they_follow_the_scores_by_picture_of_their_cell(run):
    metrics = run.scores.groupby(CELL, sort=False)["metric"].agg(list)
    for names in metrics:
        place = next(i for i, name in enumerate(names) if name.startswith("lesion_"))
        assert all(name.startswith("lesion_") for name in names[place:])
        assert "lesion_macro_f1" in names
        assert "macro_f1" in names[:place]


def test_rules_are_applied_to_pictures_before_averaging(run, analysis, table):
    points = analysis.operating_points
    for metric in ("macro_f1", "balanced_accuracy", "accuracy", "recall_mel"):
        trained = points[(points["rule"] == "as_trained") & (points["metric"] == f"lesion_{metric}")]
        assert trained.set_index(CELL)["value"].to_dict() == of_cells(run.scores, f"lesion_{metric}")
    result = next(one for one in run.results if one.cell[:2] == ("RandomOverSampler", "logistic_regression"))
    moved = result.probabilities * result.natural_mix / result.training_mix
    moved = (
        pd.DataFrame(moved / moved.sum(axis=1, keepdims=True)).groupby(table.lesion_ids[result.rows]).mean()
    )
    truth = pd.Series(result.labels).groupby(table.lesion_ids[result.rows]).first().to_numpy()
    natural = points[points["rule"] == "natural_prior"].set_index([*CELL, "metric"])["value"]
    assert natural[*result.cell, "lesion_accuracy"] == pytest.approx(
        (moved.to_numpy().argmax(axis=1) == truth).mean()
    )
    areas = [roc_auc_score(truth == code, moved[code]) for code in range(7)]
    assert natural[*result.cell, "lesion_macro_auc"] == pytest.approx(np.mean(areas))


def test_intervals_hold_the_mean_scores(run, analysis):
    intervals = analysis.intervals.set_index(["sampler", "model", "metric"])
    means = run.scores.groupby(["sampler", "model", "metric"])["value"].mean()
    for metric in ("lesion_macro_f1", "lesion_macro_auc", "lesion_accuracy", "lesion_recall_mel"):
        row = intervals.loc[("none", "logistic_regression", metric)]
        assert row["value"] == pytest.approx(means["none", "logistic_regression", metric])
        assert row["low"] < row["value"] < row["high"]


def test_the_page_shows_them_beside_those_by_picture(analysis):
    html = render_page(analysis)
    board = next(table for table in read_page(html)[0] if table.name == "leaderboard")
    rows = list(csv.DictReader(io.StringIO(board.to_csv())))
    expected = analysis.leaderboard
    assert [row["Macro-F1, by lesion"] for row in rows] == [f"{x:.3f}" for x in expected["lesion_macro_f1"]]
    assert [row["Macro-F1"] for row in rows] == [f"{x:.3f}" for x in expected["macro_f1"]]
    assert rows[0]["Macro-F1, low"] < rows[0]["Macro-F1"] < rows[0]["Macro-F1, high"]
    assert "beside it the score by lesion" in html


def test_the_majority_baseline_has_them_too(analysis, table):
    found = analysis.majority_scores
    nv, first = table.class_names.index("nv"), pd.Series(table.labels).groupby(table.lesion_ids).first()
    accuracy = found[found["metric"] == "lesion_accuracy"]["value"].mean()
    assert accuracy == pytest.approx((first == nv).mean(), abs=0.02)


def test_one_picture_each_folds_by_picture_and_no_lesions_give_no_scores_by_lesion(table):
    single = dataclasses.replace(table, lesion_ids=np.array([f"L{i}" for i in range(len(table))]))
    none = dataclasses.replace(table, lesion_ids=None)
    for one, split in ((single, "lesion"), (table, "image"), (none, "image")):
        record = run_comparison(one, ["none"], ["dummy"], folds=2, split=split, jobs=1)
        assert not record.scores["metric"].str.startswith("lesion_").any()


def test_lesions_with_several_labels_are_left_out_and_counted(table):
    sizes = pd.Series(table.lesion_ids).value_counts()
    rows = np.flatnonzero(table.lesion_ids == sizes.index[0])
    labels = table.labels.copy()
    labels[rows[0]] = (labels[rows[0]] + 1) % 7
    record = run_comparison(
        dataclasses.replace(table, labels=labels), ["none"], ["dummy"], folds=2, split="lesion", jobs=1
    )
    assert "1 lesion has pictures with different labels; scores by lesion leave them out" in record.info.notes
    assert (record.scored_lesions[rows] == -1).all()
    assert (record.scored_lesions >= 0).sum() == len(table) - len(rows)
    assert record.scores["metric"].eq("lesion_accuracy").sum() == 2


def test_averages_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    codes, shares = rng.integers(-1, 20, 200), rng.dirichlet(np.ones(3), 200)
    first, mean = average_lesions(codes, shares)
    assert (np.diff(first) > 0).all()
    for place, own in zip(first, mean, strict=True):
        np.testing.assert_allclose(own, shares[codes == codes[place]].mean(axis=0))
        assert place == np.flatnonzero(codes == codes[place])[0]
    assert len(first) == len(set(codes) - {-1})
    order = rng.permutation(200)
    again = dict(zip(codes[order][average_lesions(codes[order], shares[order])[0]], [1] * 20, strict=False))
    assert set(again) == set(codes) - {-1}
    assert average_lesions(np.full(3, -1), shares[:3])[1].shape == (0, 3)


def test_a_lesion_held_out_in_two_folds_is_not_scored():
    rows = pd.DataFrame({"repeat": 0, "fold": [0, 0, 1], "row": [0, 1, 2], "label": [0, 0, 0]})
    assert scored_lesions(rows, np.array([0, 0, 0])) is None
    assert scored_lesions(rows, np.array([0, 0, 1])).tolist() == [0, 0, 1]
    assert scored_lesions(rows, np.array([0, 1, 2])) is None
    assert scored_lesions(rows, None) is None
