"""Leaks: each does the wrong it says and nothing else, and none of it reaches an honest score."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

from skinmnist import run_comparison
from skinmnist.datasets.files import remove_owned
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.run_folder.file_names import LEAK_FILES
from skinmnist.experiment.splits import LEFT_OUT
from skinmnist.leakage.demonstrate import choose_leaky_models, demonstrate_leaks
from skinmnist.leakage.leaks import LEAK_COLUMNS, LEAKS, read_leaks
from skinmnist.leakage.trials import (
    INNER,
    PENALTY_FACTORS,
    SAMPLERS_BEFORE,
    SEEDS,
    SEEN,
    LeakScenario,
    by_image,
    candidates,
    honest,
    inner_fold,
    resampled_first,
    tuned,
)

MODELS = {"tree": DecisionTreeClassifier(max_features=20)}


@pytest.fixture(scope="module")
def scenario(lesions):
    return LeakScenario(lesions, make_plan(lesions, ("none", *SAMPLERS_BEFORE), MODELS, 3, 1, None, 0, None))


@pytest.fixture(scope="module")
def shown(lesions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run = run_comparison(lesions, ["none", "SMOTE"], MODELS, folds=3, jobs=2, out=folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return run, before, demonstrate_leaks(lesions, MODELS, folds=3, jobs=2, out=folder)


def test_copies_stand_on_both_sides(scenario, lesions):
    trial = resampled_first(scenario, "RandomOverSampler")
    assert trial.table.class_counts.tolist() == [lesions.class_counts.max()] * 7
    folds = trial.task.folds[0]
    rare = trial.table.labels == lesions.class_counts.argmin()
    homes = [{row.tobytes() for row in trial.table.pixels[rare & (folds == fold)]} for fold in range(3)]
    assert homes[0] & homes[1]
    known = {row.tobytes() for row in np.asarray(lesions.pixels)}
    assert {row.tobytes() for row in trial.table.pixels} == known


def test_rows_of_smote_lie_among_the_pictures(scenario, lesions):
    table = resampled_first(scenario, "SMOTE").table
    np.testing.assert_array_equal(table.pixels[: len(lesions)], lesions.pixels)
    assert table.pixels.dtype == np.uint8
    for code in range(7):
        made = table.pixels[len(lesions) :][table.labels[len(lesions) :] == code]
        own = lesions.pixels[lesions.labels == code]
        assert (made >= own.min(axis=0)).all()
        assert (made <= own.max(axis=0)).all()


def test_only_rows_that_take_part_are_resampled(lesions):
    rows = np.flatnonzero(np.arange(len(lesions)) % 4 > 0)
    plan = make_plan(lesions, ("none",), MODELS, 2, 1, "image", 0, rows)
    table = resampled_first(LeakScenario(lesions, plan), "RandomOverSampler").table
    taking_part = {row.tobytes() for row in np.asarray(lesions.pixels)[rows]}
    assert {row.tobytes() for row in table.pixels} == taking_part


def test_a_leaky_cell_recomputed(scenario):
    """Ten lines of scikit-learn that resample first give the very accuracy that the trial gives."""
    trial = resampled_first(scenario, "RandomOverSampler")
    found = fit_cell(trial.cells[0], trial.table, trial.task)
    rows, labels = np.asarray(trial.table.pixels).astype(np.float32), trial.table.labels
    train, test = next(StratifiedKFold(3, shuffle=True, random_state=0).split(rows, labels))
    np.testing.assert_array_equal(found.rows, test)
    seed = int(np.random.SeedSequence([0, 0, 0]).generate_state(2)[1] >> 1)
    tree = DecisionTreeClassifier(max_features=20, random_state=seed).fit(rows[train], labels[train])
    np.testing.assert_array_equal(found.predicted, tree.predict(rows[test]))


def test_a_budget_is_that_of_the_rows_before_resampling(lesions):
    plan = make_plan(lesions, ("none",), ["random_forest_pixels"], 3, 1, None, 0, None)
    trial = resampled_first(LeakScenario(lesions, plan), "RandomOverSampler")
    spec = trial.task.models["random_forest_pixels"]
    from skinmnist.models.spec import Setting

    assert spec.build(Setting(lesions.shape, 7, 10_000, 0), "none").rows_per_tree == 240


def test_by_image_parts_lesions_and_honest_does_not(scenario, lesions):
    for trial, parted in ((by_image(scenario), True), (honest(scenario, ("none",), 3), False)):
        homes = pd.DataFrame({"lesion": lesions.lesion_ids, "fold": trial.task.folds[0]}).drop_duplicates()
        assert homes.duplicated("lesion").any() == parted


def test_tuning_inside_never_sees_the_reported_fold(scenario):
    seen, inner = tuned(scenario)
    assert (seen.name, inner.name) == (SEEN, INNER)
    assert len(seen.cells) == len(inner.cells) == SEEDS
    for cell in inner.cells:
        folds = inner.task.folds[cell.repeat]
        reported = scenario.plan.task.folds[0] == cell.repeat
        assert (folds[reported] == LEFT_OUT).all()
        assert cell.fold == inner_fold(cell.repeat, 3) != cell.repeat
        np.testing.assert_array_equal(folds[~reported], scenario.plan.task.folds[0][~reported])


def test_what_tuning_chooses_among(lesions):
    models = {"line": LogisticRegression(C=0.5), "tree": DecisionTreeClassifier(), "dummy": "dummy"}
    plan = make_plan(lesions, ("none",), models, 3, 1, None, 0, None)
    found = candidates(LeakScenario(lesions, plan))
    assert {name: len(settings) for name, settings in found.items() if name != "dummy"} == {
        "line": len(PENALTY_FACTORS),
        "tree": SEEDS,
    }
    from skinmnist.models.spec import Setting

    setting = Setting(lesions.shape, 7, 100, 0)
    assert [spec.build(setting, "none").C for spec in found["line"].values()] == [
        0.5 * factor for factor in PENALTY_FACTORS
    ]


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
    monkeypatch.setattr("skinmnist.experiment.execution.runner.finish_cells", None)
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
