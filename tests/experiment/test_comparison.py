"""The main job on a small table: end to end, the same bytes whatever happens on the way."""

import gzip
import io
import json
import os
import threading

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.tree import DecisionTreeClassifier

from skinmnist import Progress, run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment import plan
from skinmnist.experiment.audit import SplitFacts
from skinmnist.experiment.cells import Cell, CellFailure
from skinmnist.experiment.run_folder.record import read_run
from skinmnist.experiment.splits import assign_folds
from skinmnist.models.spec import ModelSpec

GRID = {"samplers": ["none", "RandomOverSampler", "SMOTE"], "models": ["dummy", "logistic_regression"]}


class Watch(Progress):
    """A progress display that remembers; it may interrupt the run."""

    def __init__(self, stop_after=None):
        self.outcomes, self.left, self.stop_after, self.ranked_after = [], [], stop_after, []
        self.stored = None

    def planned(self, cells, stored, notes):
        self.cells, self.stored = cells, stored

    def ranked(self, record, finished, planned):
        self.ranked_after.append((finished, planned, contents(record.folder)[0], record))

    def finished(self, outcome, seconds_left):
        self.outcomes.append(outcome)
        self.left.append(seconds_left)
        if len(self.outcomes) == self.stop_after:
            raise KeyboardInterrupt


class Moody(ClassifierMixin, BaseEstimator):
    """Fails in one way on folds whose seed is even."""

    def __init__(self, way="raise", random_state=None):
        self.way, self.random_state = way, random_state

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        if self.way == "raise":
            raise RuntimeError("no\nluck today")
        if self.way == "die":
            os._exit(1)
        return self

    def predict(self, X):
        raise NotImplementedError("the largest probability decides")

    def predict_proba(self, X):
        if self.way == "short":
            return np.full((len(X) - 1, len(self.classes_)), 1 / len(self.classes_))
        if self.way == "nan":
            return np.full((len(X), len(self.classes_)), np.nan)
        return np.full((len(X), 2), 0.5)


def contents(folder):
    with gzip.open(folder / "predictions.csv.gz") as file:
        return (folder / "scores.csv").read_bytes(), file.read()


@pytest.fixture(scope="module")
def run(lesions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "one"
    return run_comparison(lesions, **GRID, folds=3, repeats=2, jobs=2, out=folder)


def test_every_row_is_held_out_once_for_each_pair_and_repeat(run, lesions):
    frame = pd.read_csv(run.folder / "predictions.csv.gz")
    for _, rows in frame.groupby(["sampler", "model", "repeat"]):
        assert sorted(rows["row"]) == list(range(len(lesions)))
    np.testing.assert_array_equal(frame["label"], lesions.labels[frame["row"]])


def test_folds_in_the_predictions_keep_lesions_together(run, lesions):
    frame = pd.read_csv(run.folder / "predictions.csv.gz")
    frame["lesion"] = lesions.lesion_ids[frame["row"]]
    homes = frame.drop_duplicates(["repeat", "lesion", "fold"])
    assert not homes.duplicated(["repeat", "lesion"]).any()
    folds = assign_folds(lesions, 3, 2, "lesion", 0)
    np.testing.assert_array_equal(frame["fold"], folds[frame["repeat"], frame["row"]])


def test_scores_are_those_of_the_written_predictions(run, lesions):
    """Recomputed from the file with scikit-learn alone; equal to the last bit."""
    frame = pd.read_csv(run.folder / "predictions.csv.gz")
    written = pd.read_csv(run.folder / "scores.csv")
    scores = written.set_index(["sampler", "model", "repeat", "fold", "metric"])["value"]
    for cell, rows in frame.groupby(["sampler", "model", "repeat", "fold"]):
        y, p = rows["label"], rows["predicted"]
        proba = rows.filter(like="p_").drop(columns="predicted", errors="ignore").to_numpy()
        assert scores[(*cell, "accuracy")] == metrics.accuracy_score(y, p)
        assert scores[(*cell, "macro_f1")] == metrics.f1_score(y, p, average="macro", zero_division=0)
        assert scores[(*cell, "balanced_accuracy")] == pytest.approx(metrics.balanced_accuracy_score(y, p))
        assert scores[(*cell, "macro_auc")] == pytest.approx(
            metrics.roc_auc_score(y, proba, multi_class="ovr")
        )
        assert scores[(*cell, "log_loss")] == metrics.log_loss(y, proba)


def test_timings_have_a_row_for_each_cell(run, lesions):
    timings = pd.read_csv(run.folder / "timings.csv")
    assert len(timings) == 3 * 2 * 2 * 3
    smote = timings[timings["sampler"] == "SMOTE"]
    assert (smote["rows_resampled"] > smote["rows"]).all()
    assert (timings[timings["sampler"] == "none"].eval("rows == rows_resampled")).all()
    assert (timings["peak_rss_mb"] > 10).all()


def test_run_json_tells_what_was_run(run, lesions):
    info = json.loads((run.folder / "run.json").read_text())
    assert info["seed"] == 0
    assert info["arguments"]["samplers"] == GRID["samplers"]
    assert info["arguments"]["jobs"] == 2
    assert info["protocol"]["split"] == "lesion"
    assert info["table"]["rows_per_class"] == lesions.class_counts.tolist()
    assert info["table"]["synthetic"] is True
    assert {cell["status"] for cell in info["cells"]} == {"done"}
    assert info["wall_seconds"] > 0
    assert info["peak_memory_mb"] > 50
    assert {"python", "numpy", "scikit-learn", "imbalanced-learn"} <= info["versions"].keys()
    assert info["grid"]["models"]["logistic_regression"]["space"] == "descriptors"


def test_jobs_do_not_matter(run, lesions, tmp_path):
    run_comparison(lesions, **GRID, folds=3, repeats=2, jobs=1, out=tmp_path / "a")
    assert contents(tmp_path / "a") == contents(run.folder)


def test_interrupted_and_resumed_is_the_same(run, lesions, tmp_path):
    watch = Watch(stop_after=5)
    with pytest.raises(KeyboardInterrupt):
        run_comparison(lesions, **GRID, folds=3, repeats=2, jobs=2, out=tmp_path / "a", progress=watch)
    halfway = read_run(tmp_path / "a")
    assert halfway.info.interrupted is True
    assert len(halfway.results) == 5
    assert [entry.status for entry in halfway.info.cells].count("pending") == 31
    watch = Watch()
    record = run_comparison(lesions, **GRID, folds=3, repeats=2, jobs=2, out=tmp_path / "a", progress=watch)
    assert watch.stored == 5
    assert len(watch.outcomes) == 31
    assert record.info.interrupted is False
    assert contents(tmp_path / "a") == contents(run.folder)


def test_a_grid_that_grows_is_the_same(run, lesions, tmp_path):
    run_comparison(
        lesions, ["SMOTE"], ["logistic_regression"], folds=3, repeats=2, jobs=2, out=tmp_path / "a"
    )
    run_comparison(lesions, ["none", "RandomOverSampler", "SMOTE"], ["dummy"], folds=3, out=tmp_path / "a")
    watch = Watch()
    run_comparison(lesions, **GRID, folds=3, repeats=2, jobs=2, out=tmp_path / "a", progress=watch)
    assert watch.stored == 6 + 9
    assert contents(tmp_path / "a") == contents(run.folder)


def test_fresh_starts_over(lesions, tmp_path):
    for fresh, stored in ((False, 0), (False, 3), (True, 0)):
        watch = Watch()
        run_comparison(lesions, "none", "dummy", folds=3, out=tmp_path / "a", fresh=fresh, progress=watch)
        assert watch.stored == stored


def test_a_damaged_cell_is_computed_again(lesions, tmp_path):
    run_comparison(lesions, "none", "dummy", folds=3, out=tmp_path / "a")
    whole = contents(tmp_path / "a")
    victim = sorted((tmp_path / "a" / "cells").iterdir())[1]
    victim.write_bytes(victim.read_bytes()[:-20])
    assert len(read_run(tmp_path / "a").failures) == 1
    watch = Watch()
    run_comparison(lesions, "none", "dummy", folds=3, out=tmp_path / "a", progress=watch)
    assert watch.stored == 2
    assert contents(tmp_path / "a") == whole


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"folds": 4}, {"split": "image"}, {"rows": np.arange(0, 350)}], ids=str
)
def test_runs_that_cannot_stand_in_one_table_are_refused(lesions, tmp_path, change):
    run_comparison(lesions, "none", "dummy", folds=3, out=tmp_path / "a")
    before = contents(tmp_path / "a")
    with pytest.raises(InputError, match="name another folder with --out, or start over with --fresh"):
        run_comparison(lesions, "none", "dummy", **{"folds": 3, "out": tmp_path / "a", **change})
    assert contents(tmp_path / "a") == before
    run_comparison(lesions, "none", "dummy", **{"folds": 3, "out": tmp_path / "a", "fresh": True, **change})


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("raise", "RuntimeError: no luck today"),
        ("nan", "values that are not probabilities"),
        ("shape", "predict_proba returned the shape"),
        ("short", "predict_proba returned the shape"),
        ("die", "its worker process died"),
    ],
)
def test_a_cell_that_fails_fails_alone(lesions, tmp_path, way, reason):
    models = {"tree": DecisionTreeClassifier(max_depth=3), "moody": Moody(way)}
    record = run_comparison(lesions, "none", models, folds=2, jobs=2, out=tmp_path / "a")
    assert {failure.cell for failure in record.failures} == {Cell("none", "moody", 0, f) for f in (0, 1)}
    assert all(reason in failure.reason and "\n" not in failure.reason for failure in record.failures)
    assert {result.cell for result in record.results} == {Cell("none", "tree", 0, f) for f in (0, 1)}
    assert {entry.status for entry in record.info.cells} == {"done", "failed"}


def test_a_model_that_changed_under_its_name_leaves_no_old_cells(lesions, tmp_path):
    for depth in (1, 5):
        models = {"tree": DecisionTreeClassifier(max_depth=depth)}
        samplers = ["none", "RandomOverSampler"] if depth == 1 else ["none"]
        record = run_comparison(lesions, samplers, models, folds=2, out=tmp_path / "a")
    assert {result.cell.sampler for result in record.results} == {"none"}
    assert "tree has changed: its earlier cells were left out" in record.info.notes


def test_specs_of_the_users_own_are_told_apart(lesions, tmp_path):
    scores = []
    for depth in (1, 5):
        spec = ModelSpec("t", lambda setting, depth=depth: DecisionTreeClassifier(max_depth=depth))
        scores.append(run_comparison(lesions, "none", {"t": spec}, folds=2, out=tmp_path / "a").scores)
    assert not scores[0].equals(scores[1])


def test_the_cost_of_earlier_sessions_counts(lesions, tmp_path):
    infos = [
        run_comparison(lesions, samplers, "dummy", folds=2, out=tmp_path / "a").info
        for samplers in ("none", "SMOTE", "SMOTE")
    ]
    assert [len(info.sessions) for info in infos] == [1, 2, 2]
    assert infos[1].wall_seconds > infos[0].wall_seconds
    assert infos[2].wall_seconds == infos[1].wall_seconds


def test_failed_cells_are_tried_again(lesions, tmp_path):
    for _ in range(2):
        watch = Watch()
        run_comparison(lesions, "none", {"m": Moody()}, folds=2, out=tmp_path / "a", progress=watch)
        assert [type(outcome) for outcome in watch.outcomes] == [CellFailure] * 2


def test_scores_only_become_probabilities_and_the_largest_decides(lesions):
    record = run_comparison(lesions, "none", {"ridge": RidgeClassifier(alpha=1e5)}, folds=2)
    frame = record.predictions
    proba = frame.filter(regex="^p_").to_numpy()
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert len(set(frame["predicted"])) > 1
    np.testing.assert_array_equal(frame["predicted"], proba.argmax(axis=1))


def test_nothing_is_kept_where_no_folder_is_named(lesions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = run_comparison(lesions, "none", "dummy", folds=2)
    assert len(record.results) == 2
    assert not record.folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_seconds_left_are_reported_and_end_at_nothing(lesions):
    watch = Watch()
    run_comparison(lesions, "none", ["dummy", "logistic_regression"], folds=3, jobs=2, progress=watch)
    assert watch.left[-1] == 0
    assert all(seconds >= 0 for seconds in watch.left)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"jobs": 0}, "received 0 jobs"),
        ({"seed": -1}, "received seed -1"),
        ({"samplers": "class_weight"}, "nothing is left to run"),
        ({"models": {"SMOTE": "dummy"}, "samplers": ["SMOTE"]}, "as both a sampler and a model"),
    ],
)
def test_arguments_that_make_no_comparison(lesions, arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        run_comparison(lesions, **{"samplers": "none", "models": "dummy", "folds": 2, **arguments})


def test_a_folder_that_cannot_be_written(lesions, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file; expected a folder for the run, so name one"):
        run_comparison(lesions, "none", "dummy", folds=2, out=tmp_path / "file" / "run")


def test_a_record_that_is_none(tmp_path):
    with pytest.raises(InputError, match=r"holds no run\.json"):
        read_run(tmp_path)
    for content in ("[1, 2", "[]", '{"table": {}, "protocol": {}, "cells": []}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(InputError, match="is not a valid record of a run"):
            read_run(tmp_path)


def test_a_record_with_a_missing_file(lesions, tmp_path):
    run_comparison(lesions, "none", "dummy", folds=2, out=tmp_path)
    (tmp_path / "pictures.npz").unlink()
    with pytest.raises(InputError, match="is damaged"):
        read_run(tmp_path)


def scores_by_fold(content):
    return pd.read_csv(io.BytesIO(content)).groupby("fold")


def test_scores_of_the_first_fold_of_every_pair_are_written_early(run, lesions, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "EARLY_SECONDS", 0.0)
    models = {"dummy": "dummy", "failing": Moody()}  # A pair that fails holds up no other.
    watch = Watch()
    out = tmp_path / "run"
    run_comparison(lesions, ["none"], models, folds=3, repeats=1, jobs=1, out=out, progress=watch)
    finished, planned, early, record = watch.ranked_after[0]
    assert (finished, planned) == (1, 3)
    assert {result.cell[2:] for result in record.results} == {(0, 0)}
    assert [failure.cell for failure in record.failures] == [Cell("none", "failing", 0, 0)]
    assert [outcome.cell.fold for outcome in watch.outcomes] == [0, 0, 1, 1, 2, 2]
    final = scores_by_fold((out / "scores.csv").read_bytes())
    pd.testing.assert_frame_equal(scores_by_fold(early).get_group(0), final.get_group(0))
    assert set(final.groups) == {0, 1, 2}
    info = json.loads((out / "run.json").read_text())
    assert not info["interrupted"]
    own = run.scores[(run.scores["repeat"] == 0) & (run.scores["model"] == "dummy")]
    none = own[own["sampler"] == "none"].reset_index(drop=True)
    written = pd.read_csv(out / "scores.csv")
    pd.testing.assert_frame_equal(written, none, check_dtype=False)


def test_a_resumed_run_ranks_what_was_stored_too(lesions, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "EARLY_SECONDS", 0.0)
    options = {"folds": 3, "jobs": 1, "out": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        run_comparison(
            lesions, ["none", "SMOTE"], ["dummy"], progress=(first := Watch(stop_after=3)), **options
        )
    assert [entry[0] for entry in first.ranked_after] == [1]
    run_comparison(lesions, ["none", "SMOTE"], ["dummy"], progress=(second := Watch()), **options)
    finished, _, _, record = second.ranked_after[0]
    assert finished == 2
    assert {result.cell[2:] for result in record.results} >= {(0, 0), (0, 1)}


def test_an_error_of_the_search_for_near_duplicates_ends_the_run_and_keeps_its_cells(
    lesions, tmp_path, monkeypatch
):
    def fail(*_):
        raise MemoryError("no room to search")

    with monkeypatch.context() as patch:
        patch.setattr(SplitFacts, "of_split", fail)
        with pytest.raises(MemoryError, match="no room"):
            run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=tmp_path)
    watch = Watch()
    record = run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=tmp_path, progress=watch)
    assert len(record.results) == 2
    assert len(watch.outcomes) < 2  # At least one cell was stored.
    assert record.info.split_facts is not None


def test_an_interrupt_waits_for_no_search_and_writes_the_finished_cells(lesions, tmp_path, monkeypatch):
    let_go, search = threading.Event(), SplitFacts.of_split

    def slow(*arguments):
        let_go.wait(60)
        return search(*arguments)

    monkeypatch.setattr(SplitFacts, "of_split", slow)
    with pytest.raises(KeyboardInterrupt):
        run_comparison(lesions, "none", "dummy", folds=3, jobs=1, out=tmp_path, progress=Watch(stop_after=2))
    let_go.set()
    record = read_run(tmp_path)
    assert len(record.results) == 2
    assert record.info.split_facts is None
    resumed = run_comparison(lesions, "none", "dummy", folds=3, jobs=1, out=tmp_path)
    assert resumed.info.split_facts is not None
