"""Metrics by name, function and scorer, against scikit-learn's own functions on the same predictions."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from sklearn.naive_bayes import GaussianNB

from skinmnist import PixelTable, run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment.metrics import HeldOut, Metric
from skinmnist.experiment.run_folder import record
from skinmnist.experiment.scorers import resolve_metrics

#: Not in sorted order: the columns of probabilities must follow the labels.
NAMES = ("nv", "mel", "bkl")
WORDS = np.array(NAMES)
SCORES = ["sampler", "model", "repeat", "fold", "metric", "value"]


def answers(n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, 150)
    probabilities = (rng.dirichlet(np.ones(n_classes), 150) + np.eye(n_classes)[labels]) / 2
    return HeldOut(labels, probabilities.argmax(axis=1), probabilities)


def sharpness(labels, predicted, probabilities):
    return probabilities.max(axis=1).mean()


def missed(true, called):
    return (called[true == "mel"] != "mel").mean()


F2 = partial(sk.fbeta_score, beta=2, average="macro")
OVR = partial(sk.roc_auc_score, multi_class="ovr")
GIVEN = answers()
TRUE, CALLED = WORDS[GIVEN.labels], WORDS[GIVEN.predicted]
SORTED = GIVEN.probabilities[:, [2, 1, 0]]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("f1_weighted", sk.f1_score(TRUE, CALLED, average="weighted")),
        ("neg_log_loss", -sk.log_loss(TRUE, SORTED)),
        ("roc_auc_ovo", sk.roc_auc_score(TRUE, SORTED, multi_class="ovo")),
        (sk.cohen_kappa_score, sk.cohen_kappa_score(TRUE, CALLED)),
        ({"nats": sk.log_loss}, sk.log_loss(TRUE, SORTED)),
        (sk.top_k_accuracy_score, sk.top_k_accuracy_score(TRUE, SORTED)),
        (sk.make_scorer(sk.fbeta_score, beta=2, average="macro"), F2(TRUE, CALLED)),
        (sk.make_scorer(sk.recall_score, labels=["mel"], average="macro"), 1 - missed(TRUE, CALLED)),
        ({"mel_missed": missed}, missed(TRUE, CALLED)),
        (sharpness, GIVEN.probabilities.max(axis=1).mean()),
        ({"half": Metric("Half.", lambda held_out: 0.5)}, 0.5),
        ({"auc": OVR}, OVR(TRUE, SORTED)),
    ],
)
def test_a_metric_is_that_of_scikit_learn(asked, wanted):
    (metric,) = resolve_metrics(asked, NAMES).values()
    assert metric.compute(GIVEN) == pytest.approx(wanted, abs=1e-12)


def test_whole_numbers_reach_functions_as_numbers():
    (metric,) = resolve_metrics({"grades": sk.mean_absolute_error}, ["10", "9", "2"]).values()
    grades = np.array([10, 9, 2])
    wanted = np.abs(grades[GIVEN.labels] - grades[GIVEN.predicted]).mean()
    assert metric.compute(GIVEN) == pytest.approx(wanted)


def test_of_two_classes_the_second_is_scored():
    held_out = answers(2)
    (metric,) = resolve_metrics(sk.roc_auc_score, ["benign", "malignant"]).values()
    assert metric.compute(held_out) == pytest.approx(
        sk.roc_auc_score(held_out.labels, held_out.probabilities[:, 1])
    )


def test_names_of_every_run_are_left_to_it():
    assert resolve_metrics(["macro_f1", "ECE", "recall_mel"], NAMES) == {}


def test_direction_and_title():
    found = resolve_metrics(["neg_log_loss", sk.hamming_loss, sk.cohen_kappa_score], NAMES)
    assert {name for name, metric in found.items() if metric.lower_is_better} == {"hamming_loss"}
    assert found["hamming_loss"].title == "Compute the average Hamming loss."


def test_a_fold_without_a_class_has_no_such_score():
    (metric,) = resolve_metrics("roc_auc_ovr", NAMES).values()
    chosen = GIVEN.labels != 1
    part = HeldOut(GIVEN.labels[chosen], GIVEN.predicted[chosen], GIVEN.probabilities[chosen])
    assert metric.compute(part) is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("f1_marco", "unknown metric 'f1_marco'; did you mean 'f1_macro'?"),
        ("f1", "metric 'f1' cannot be computed from stored predictions of 3 classes (Target is multiclass"),
        ("r2", "metric 'r2' cannot be computed from stored predictions"),
        (sk.hinge_loss, "metric 'hinge_loss' cannot be computed"),
        (lambda true, called: "high", "metric 'lambda' cannot be computed"),
        (lambda true, called: np.nan, "metric 'lambda' returned no number"),
        ({"mine": 3}, "received 3 as metric 'mine'; expected a name or a function"),
        (3, "expected a list of names or functions"),
        ({"f1_macro": sharpness}, "received your own metric as 'f1_macro', but the name is taken"),
        ([sk.log_loss], "as 'log_loss', but the name is taken; rename it in a dict"),
    ],
)
def test_what_cannot_be_a_metric(asked, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        resolve_metrics(asked, NAMES)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    return PixelTable.from_arrays(rng.integers(0, 256, (60, 2, 2), dtype=np.uint8), np.tile(WORDS, 20))


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("none,dummy,0,0,mine,0.25", [0.25]),
        ("none,dummy,0,0,mine,0.25\nnone,dummy,0,0,mine,0.75", [0.25]),
        ("none,dummy,0.5,nan,mine,0.25", []),
        ("none,dummy,0,7,mine,0.25\nother,svm,0,0,mine,1", []),
        ("none,dummy,0,0,other,0.25", []),
    ],
)
def test_scores_that_somebody_wrote(line, kept, tmp_path):
    """Only those of a metric that the run names count, once for each of its cells."""
    ours = pd.DataFrame([("none", "dummy", 0, 0, "log_loss", 0.5)], columns=SCORES)
    path = tmp_path / "scores.csv"
    path.write_text(f"{','.join(SCORES)}\nnone,dummy,0,0,log_loss,0.5\n{line}\n")
    found = record._with_written(path, ours, {"mine"}, ["log_loss", "mine"])
    assert found.query("metric == 'mine'")["value"].to_list() == kept


def test_scores_of_a_run_and_of_its_folder(table, tmp_path):
    """A function of the user's own is not at hand when a folder is read: its scores are read as well."""
    arguments = {"folds": 2, "jobs": 1, "out": tmp_path / "run"}
    run = run_comparison(table, ["none"], ["dummy"], metrics=[sharpness, "f1_weighted"], **arguments)
    plain = run_comparison(table, ["none"], ["dummy"], folds=2, jobs=1)
    more = run.scores["metric"].isin(["sharpness", "f1_weighted"])
    assert more.sum() == 4
    pd.testing.assert_frame_equal(run.scores[~more].reset_index(drop=True), plain.scores)
    before = (tmp_path / "run" / "scores.csv").read_bytes()
    pd.testing.assert_frame_equal(record.read_run(tmp_path / "run").scores, run.scores)

    board = run.leaderboard("sharpness")
    assert board["mean"].is_monotonic_decreasing

    later = run_comparison(table, ["none"], ["dummy", GaussianNB()], **arguments)
    kept = later.scores[later.scores["model"] == "dummy"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, run.scores)
    of_other = set(later.scores.query("model == 'GaussianNB'")["metric"])
    assert "f1_weighted" in of_other
    assert "sharpness" not in of_other
    run_comparison(table, ["none"], ["dummy", GaussianNB()], metrics=sharpness, **arguments)
    assert (tmp_path / "run" / "scores.csv").read_bytes().startswith(before)
    changed = run_comparison(table, ["none"], [GaussianNB(var_smoothing=1.0)], **arguments)
    of_changed = set(changed.scores.query("model == 'GaussianNB'")["metric"])
    assert "sharpness" not in of_changed, "it was computed from the predictions of another model"
    assert "sharpness" in set(changed.scores.query("model == 'dummy'")["metric"])
