"""A demonstration: every leak inflates its score, and none of it reaches an honest one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from sklearn.tree import DecisionTreeClassifier

from skinmnist import run_comparison
from skinmnist.datasets.files import remove_owned
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.run_folder.folder import LEAK_FILES
from skinmnist.leakage import demonstrate
from skinmnist.leakage.demonstrate import choose_leaky_models, demonstrate_leaks
from skinmnist.leakage.leaks import LEAK_COLUMNS, LEAKS, read_leaks
from skinmnist.leakage.scenario import (
    SAMPLERS_BEFORE,
    LeakScenario,
    resampled_first,
)

MODELS = {"tree": DecisionTreeClassifier(max_features=20)}


@pytest.fixture(scope="module")
def scenario(lesions):
    return LeakScenario(lesions, make_plan(lesions, ("none", *SAMPLERS_BEFORE), MODELS, 3, 1, None, 0, None))


@pytest.fixture(scope="module")
def shown(lesions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run = run_comparison(lesions, ["none", "SMOTE"], MODELS, folds=3, jobs=1, out=folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return run, before, demonstrate_leaks(lesions, MODELS, folds=3, jobs=2, out=folder)


def test_every_leak_is_shown_with_its_inflation(shown):
    _, _, demonstration = shown
    scores = demonstration.scores
    assert list(scores.columns) == list(LEAK_COLUMNS)
    assert set(scores["leak"]) == {leak.key for leak in LEAKS}
    gaps = (scores["leaky"] - scores["honest"])[scores["metric"] == "macro_f1"]
    by_leak = gaps.groupby(scores["leak"])
    assert by_leak.get_group("resampling_before_the_split").min() > 0.2
    assert by_leak.get_group("tuning_on_the_test_fold").min() >= 0


def test_honest_means_are_those_of_the_run(shown):
    run, _, demonstration = shown
    honest_mean = demonstration.scores.set_index(["leak", "sampler", "metric"])["honest"]
    scores = run.scores.set_index(["sampler", "fold", "metric"])["value"]
    assert honest_mean["resampling_before_the_split", "SMOTE", "accuracy"] == scores["SMOTE", 0, "accuracy"]
    mean = np.mean([scores["none", fold, "accuracy"] for fold in range(3)])
    assert honest_mean["lesions_in_both_folds", "none", "accuracy"] == pytest.approx(mean)
    assert not list((run.folder / "leaks" / "honest").glob("SMOTE-tree-r0-f0*"))


def test_nothing_of_the_run_is_touched(shown):
    run, before, _ = shown
    after = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    assert before.items() <= after.items()
    new = {path.relative_to(run.folder).parts[0] for path in after.keys() - before.keys()}
    assert new == {"leaks", "leaks.csv"}


def test_the_same_bytes_again_without_training(shown, lesions, monkeypatch, tmp_path):
    run, _, _ = shown
    written = (run.folder / "leaks.csv").read_bytes()
    alone = demonstrate_leaks(lesions, MODELS, folds=3, jobs=1, out=tmp_path)
    assert (tmp_path / "leaks.csv").read_bytes() == written
    monkeypatch.setattr("skinmnist.experiment.execution.local.finish_cells", None)
    again = demonstrate_leaks(lesions, MODELS, folds=3, jobs=1, out=run.folder)
    pd.testing.assert_frame_equal(again.scores, alone.scores)
    assert (run.folder / "leaks.csv").read_bytes() == written


def test_read_back_and_forgotten(shown, tmp_path):
    run, _, demonstration = shown
    found = read_leaks(run.folder, run.info)
    pd.testing.assert_frame_equal(found.scores, demonstration.scores)
    assert (found.notes, found.titles) == (demonstration.notes, {"tree": "tree"})
    assert read_leaks(run.folder, replace(run.info, protocol=replace(run.info.protocol, seed=1))) is None
    assert read_leaks(tmp_path, run.info) is None
    (tmp_path / "leaks").mkdir()
    (tmp_path / "leaks" / "leaks.json").write_text("{}")
    (tmp_path / "leaks.csv").write_text("")
    with pytest.raises(InputError, match="damaged"):
        read_leaks(tmp_path, run.info)
    remove_owned(tmp_path, LEAK_FILES)
    assert read_leaks(tmp_path, run.info) is None


def test_without_lesion_ids_one_leak_cannot_be_shown(lesions):
    table = replace(lesions, lesion_ids=None)
    found = demonstrate_leaks(table, {"stump": DecisionTreeClassifier(max_depth=1)}, folds=2, jobs=1)
    # Two folds leave none to choose on inside.
    assert set(found.scores["leak"]) == {"resampling_before_the_split"}
    assert any("no lesion ids" in note for note in found.notes)


def test_sets_stored_in_the_table_are_not_the_folds_of_the_demonstration(lesions, monkeypatch):
    """They hold out one part only; the other folds would be parts of its training set, in table order."""

    class EnoughError(Exception):
        """Ends the demonstration as soon as it has its plan."""

    def keep_plan(_, plan):
        plans.append(plan)
        raise EnoughError

    plans = []
    monkeypatch.setattr(demonstrate, "LeakScenario", keep_plan)
    parts = np.array(["train", "train", "test"])[np.unique(lesions.lesion_ids, return_inverse=True)[1] % 3]
    for table in (lesions, replace(lesions, parts=parts)):
        with pytest.raises(EnoughError):
            demonstrate_leaks(table, ["dummy"], folds=3, jobs=1)
    plain, own = plans
    assert own.protocol.split == "lesion"
    np.testing.assert_array_equal(own.task.folds, plain.task.folds)


def test_models_that_are_left_out_are_named():
    kept, notes = choose_leaky_models(["svm", "cnn", "dummy", "mine"])
    assert kept == ["svm", "mine", "random_forest_pixels"]
    assert "cnn, dummy" in notes[0]
    assert choose_leaky_models(["random_forest_pixels"]) == (["random_forest_pixels"], [])


def test_bad_jobs_are_refused(lesions):
    with pytest.raises(InputError, match="0 jobs"):
        demonstrate_leaks(lesions, jobs=0)


def test_a_failing_cell_leaves_a_note(lesions):
    class Never(DecisionTreeClassifier):
        def fit(self, X, y):
            raise RuntimeError("no luck")

    found = demonstrate_leaks(lesions, {"never": Never()}, folds=2, jobs=1)
    assert found.scores.empty
    assert any("no luck" in note for note in found.notes)


def test_accuracy_of_the_leaky_score_by_hand(shown, scenario):
    _, _, demonstration = shown
    trial = resampled_first(scenario, "RandomOverSampler")
    result = fit_cell(Cell("RandomOverSampler", "tree", 0, 0), trial.table, trial.task)
    leaky = demonstration.scores.set_index(["leak", "sampler", "metric"])["leaky"]
    wanted = accuracy_score(result.labels, result.predicted)
    assert leaky["resampling_before_the_split", "RandomOverSampler", "accuracy"] == wanted
