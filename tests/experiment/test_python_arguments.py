"""What `run_comparison` takes as scikit-learn does: arrays, splitters, estimators, names of arguments."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ShuffleSplit, StratifiedGroupKFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinmnist import PixelTable, run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment import plan
from skinmnist.experiment.grid import resolve_models, resolve_samplers

DIGITS = load_digits()
CHOSEN = np.flatnonzero(DIGITS.target < 3)[:120]
X, Y, GROUPS = DIGITS.images[CHOSEN], DIGITS.target[CHOSEN], np.arange(120) // 2
SAMPLERS = ["none", SMOTE(k_neighbors=2)]
CV = StratifiedKFold(2, shuffle=True)


def compare(models=("dummy",), samplers=("none",), data=(X, Y), **arguments):
    return run_comparison(data, samplers, models, **{"jobs": 1, "folds": 2, **arguments})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    models = [GaussianNB(var_smoothing=0.1), make_pipeline(StandardScaler(), LogisticRegression())]
    out = tmp_path_factory.mktemp("digits") / "run"
    return run_comparison((X, Y, GROUPS), SAMPLERS, models, cv=CV, random_state=3, n_jobs=1, out=out), models


def contents(run):
    return (run.folder / "scores.csv").read_bytes(), gzip.decompress(
        (run.folder / "predictions.csv.gz").read_bytes()
    )


def test_digits_from_arrays_to_scores(run):
    run, _ = run
    assert not run.failures
    assert run.info.table.class_names == ("0", "1", "2")
    assert set(run.scores["model"]) == {"GaussianNB", "Pipeline(LogisticRegression)"}
    assert set(run.scores["sampler"]) == {"none", "SMOTE"}
    assert run.scores.query("metric == 'accuracy'")["value"].min() > 0.8
    assert run.info.arguments.cv == "StratifiedKFold(n_splits=2, random_state=3, shuffle=True)"


def test_predictions_are_those_of_scikit_learn_alone(run):
    """Recomputed with clone, fit and predict_proba on the folds of the splitter."""
    run, models = run
    frame = pd.read_csv(run.folder / "predictions.csv.gz")
    rows = X.reshape(len(X), -1).astype(np.float32)
    splitter = StratifiedKFold(2, shuffle=True, random_state=3)
    for fold, (train, test) in enumerate(splitter.split(rows, Y)):
        cell = frame.query(f"sampler == 'none' and model == 'GaussianNB' and fold == {fold}")
        np.testing.assert_array_equal(cell["row"], test)
        np.testing.assert_array_equal(
            cell["predicted"], models[0].fit(rows[train], Y[train]).predict(rows[test])
        )


def test_lesions_in_both_parts_of_given_folds_are_reported(run):
    assert any("lesions have pictures both in training and in held-out parts" in n for n in run[0].info.notes)
    kept = compare(data=(X, Y, GROUPS), cv=StratifiedGroupKFold(2), folds=5)
    assert not any("WARNING: 0 lesions" in note or "both in training" in note for note in kept.info.notes)


def test_the_same_in_other_words_is_found_again(run):
    """Other names for seed and jobs, folds as pairs, models that are fitted: no cell and no byte changes."""
    run, models = run
    models[0].fit(X.reshape(len(X), -1), Y)
    before = contents(run)
    pairs = list(StratifiedKFold(2, shuffle=True, random_state=3).split(X, Y))
    table = PixelTable.from_arrays(X, Y, GROUPS)
    named = dict(zip(["GaussianNB", "Pipeline(LogisticRegression)"], models, strict=True))
    again = run_comparison(table, SAMPLERS, named, cv=iter(pairs), seed=3, jobs=1, out=run.folder)
    assert [session.new_cells for session in again.info.sessions] == [8]
    assert contents(again) == before


def test_other_parameters_are_another_model(run, tmp_path):
    first = compare([GaussianNB()], out=tmp_path / "run")
    other = compare([GaussianNB(var_smoothing=1.0)], out=tmp_path / "run")
    assert [session.new_cells for session in other.info.sessions] == [2, 2]
    assert not other.scores.equals(first.scores)
    assert any("GaussianNB has changed" in note for note in other.info.notes)


def test_other_folds_are_another_run(tmp_path):
    compare(cv=CV, folds=5, out=tmp_path / "run")
    with pytest.raises(InputError, match="holds a run with other rows"):
        compare(cv=StratifiedKFold(2), folds=5, out=tmp_path / "run")


def test_a_number_as_cv_is_the_number_of_folds():
    by_cv, by_folds = compare(cv=2, folds=5), compare(folds=2)
    pd.testing.assert_frame_equal(by_cv.predictions, by_folds.predictions)


def test_parts_that_are_no_cross_validation_are_held_out_one_by_one():
    found = compare(cv=ShuffleSplit(3, test_size=0.25, random_state=1), folds=5)
    assert found.info.protocol.planned_folds == 1
    assert "1 pair, 3 given training and test parts, seed 0" in repr(found)
    for repeat, (_, test) in enumerate(ShuffleSplit(3, test_size=0.25, random_state=1).split(X)):
        cell = found.predictions.query(f"repeat == {repeat}")
        np.testing.assert_array_equal(cell["row"], np.sort(test))
        assert set(cell["fold"]) == {0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 1, "random_state": 2}, "received seed=1 and random_state=2, which are one argument"),
        ({"jobs": 1, "n_jobs": 2}, "received jobs=1 and n_jobs=2"),
        ({"jobs": None, "n_jobs": 0}, "received n_jobs=0; expected at least 1, or -1"),
        ({"random_state": np.random.RandomState(0)}, "expected a whole number"),
        ({"folds": "2"}, "received folds='2'; expected a whole number"),
        ({"folds": 3, "cv": 4}, "received folds=3 and cv=4"),
        ({"cv": CV}, "received cv and folds; drop folds"),
        ({"folds": 5, "repeats": 2, "cv": CV}, "received cv and repeats"),
        ({"folds": 5, "split": "image", "cv": CV}, "received cv and split"),
        ({"data": X}, "pass both as a tuple, as in run_comparison((X, y))"),
        (
            {"models": [LogisticRegression]},
            "received the class LogisticRegression as a model; pass an instance",
        ),
        ({"models": [3]}, "received 3 as model 'int'"),
        ({"models": 3}, "received 3 as models; expected a list of names or objects"),
    ],
)
def test_slips(arguments, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        compare(**arguments)
    assert "\n" not in str(caught.value)


def test_equal_arguments_by_both_names_are_fine():
    assert compare(seed=2, random_state=2, jobs=1, n_jobs=1).info.seed == 2
    assert plan.choose_jobs(None, -1) == plan.available_cores() == plan.choose_jobs(None, None)
    assert plan.choose_jobs(None, -100) == 1


def test_objects_are_named_by_their_class():
    dummy = DummyClassifier()
    found = resolve_models([dummy, dummy, ("mine", dummy), ("plain", "svm"), "dummy"])
    assert [*found] == ["DummyClassifier", "DummyClassifier-2", "mine", "plain", "dummy"]
    assert [*resolve_models(dummy)] == ["DummyClassifier"]
    assert [*resolve_samplers(["SMOTE", SMOTE(k_neighbors=1)])] == ["SMOTE", "SMOTE-2"]
    assert [*resolve_samplers(SMOTE())] == ["SMOTE"]
