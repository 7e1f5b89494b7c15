"""Cells that replace the head of a network share its training; their bytes do not depend on how they run."""

import gzip
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.naive_bayes import GaussianNB

from skinmnist import Limits, ModelSpec, Progress, read_run, run_comparison
from skinmnist.experiment.cells import Cell, CellFailure
from skinmnist.experiment.execution.runner import with_followers
from skinmnist.experiment.execution.worker import run_cell
from skinmnist.experiment.fit_cell import find_followers
from skinmnist.experiment.plan import make_plan
from skinmnist.models.spec import Strategy

HEADS = ["crt", "tau_norm", "smote_head"]


class Network(ClassifierMixin, BaseEstimator):
    """A stand-in for a network: its trunk is naive Bayes, and its heads are powers of the answers.

    Each training of a trunk adds a line to the file `log`. What is `broken` fails: a head or the trunk.
    """

    def __init__(self, log, broken="", head=None):
        self.log, self.broken, self.head = log, broken, head

    def fit(self, X, y, trunk=None):
        """Train the trunk, or recall it."""
        train = partial(self._train, X, y)
        self.trunk_ = train() if trunk is None else trunk.recall("networks", [X, y], train)
        self.classes_ = self.trunk_.classes_
        if self.broken == self.head:
            raise RuntimeError("no head")
        return self

    def _train(self, X, y):
        with Path(self.log).open("a") as file:
            file.write(f"{len(y)}\n")
        if self.broken == "trunk":
            raise RuntimeError("no trunk")
        return GaussianNB(var_smoothing=0.1).fit(X, y)

    def predict_proba(self, X):
        """Return the answers of the trunk to a power."""
        power = {None: 1.0, "crt": 0.5, "tau_norm": 0.7, "smote_head": 0.3}[self.head]
        return self.trunk_.predict_proba(X) ** power

    def predict(self, X):
        """Return classes."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def network(setting, log, broken):
    """Build the stand-in."""
    return Network(log, broken)


STRATEGIES = {name: Strategy({"head": name}, mix_power=0.0, replaces_head=True) for name in HEADS}


class Log:
    """The stand-in as a model of a run, and the number of trainings."""

    def __init__(self, path):
        self.path = path

    def grid(self, broken=""):
        build = partial(network, log=str(self.path), broken=broken)
        return {"models": {"net": ModelSpec("Network", build, strategies=STRATEGIES)}, "folds": 2}

    def __call__(self):
        return len(self.path.read_text().splitlines()) if self.path.exists() else 0


class Stop(Progress):
    """Interrupts a run after some outcomes."""

    def __init__(self, after):
        self.left = after

    def finished(self, outcome, seconds_left):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "log")


def contents(folder):
    with gzip.open(folder / "predictions.csv.gz") as file:
        return (folder / "scores.csv").read_bytes(), file.read()


def assert_same_predictions(found, run, samplers):
    expected = run.predictions[run.predictions["sampler"].isin(samplers)]
    pd.testing.assert_frame_equal(found.predictions, expected.reset_index(drop=True))


@pytest.fixture(scope="module")
def run(lesions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "one"
    log = Log(folder.parent / "log")
    record = run_comparison(lesions, ["none", *HEADS], **log.grid(), jobs=1, out=folder)
    assert log() == 2  # One network per fold.
    return record


def test_all_cells_are_there_and_tell_what_they_share(run):
    assert len(run.results) == 8
    assert not run.failures
    timings = pd.read_csv(run.folder / "timings.csv").set_index(["sampler", "model"])
    shared = timings.loc[("none", "net"), "shared_seconds"]
    assert (shared == 0).all()
    for name in HEADS:
        assert (timings.loc[(name, "net"), "shared_seconds"] > 0).all()
        own = timings.loc[(name, "net"), ["resample_seconds", "fit_seconds", "predict_seconds"]]
        assert (own >= 0).all(axis=None)
    again = read_run(run.folder)
    pd.testing.assert_frame_equal(again.timings, run.timings)


def test_two_workers_give_the_same_bytes(run, lesions, tmp_path, log):
    run_comparison(lesions, ["none", *HEADS], **log.grid(), jobs=2, out=tmp_path / "two")
    assert contents(tmp_path / "two") == contents(run.folder)
    assert log() == 2


def test_time_limits_apply_to_single_cells(run, lesions, log):
    found = run_comparison(lesions, ["crt", "none"], **log.grid(), jobs=1, limits=Limits(seconds=300))
    assert log() == 4
    assert_same_predictions(found, run, ["none", "crt"])


def test_a_run_that_ends_between_network_and_head_goes_on_with_the_same_bytes(run, lesions, tmp_path, log):
    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        run_comparison(lesions, ["none", *HEADS], **log.grid(), jobs=1, out=folder, progress=Stop(2))
    left = [name for name in HEADS if not any((folder / "cells").glob(f"{name}-net-r0-f0*"))]
    assert len(left) == 2
    run_comparison(lesions, ["none", *HEADS], **log.grid(), jobs=1, out=folder)
    assert contents(folder) == contents(run.folder)
    assert log() in (3, 4)  # The second fold may have begun before the first run ended.


def test_heads_without_none_train_one_network_per_fold(run, lesions, log):
    found = run_comparison(lesions, HEADS, **log.grid(), jobs=1)
    assert log() == 2
    assert_same_predictions(found, run, HEADS)


def task_of(lesions, log, samplers=("none", *HEADS), broken=""):
    plan = make_plan(lesions, list(samplers), log.grid(broken)["models"], 2, 1, None, 0, None)
    return plan, replace(plan.task, followers=find_followers(plan.cells, plan.task))


def test_groups_are_the_cells_of_one_model_and_fold(lesions, log):
    plan, task = task_of(lesions, log, ["none", "SMOTE", "crt", "smote_head"])
    wanted = tuple(Cell(name, "net", 0, 1) for name in ("crt", "smote_head"))
    assert set(task.followers) == {Cell("none", "net", 0, 0), Cell("none", "net", 0, 1)}
    assert task.followers[Cell("none", "net", 0, 1)] == wanted
    assert find_followers([cell for cell in plan.cells if cell.sampler == "none"], plan.task) == {}
    seconds = plan.expected_seconds(lesions)
    assert all(seconds[cell] < seconds[Cell("none", "net", 0, 1)] for cell in wanted)


def test_a_head_that_fails_leaves_the_others_alone(lesions, log):
    for samplers in (["none", *HEADS], HEADS):
        _, task = task_of(lesions, log, samplers, broken="crt")
        first = next(iter(task.followers))
        outcome = run_cell(first, lesions, task)
        outcomes = {one.cell.sampler: one for one in (outcome, *outcome.followers)}
        assert list(outcomes) == list(samplers)
        failed = [name for name, one in outcomes.items() if isinstance(one, CellFailure)]
        assert failed == ["crt"]
        assert outcomes["crt"].reason == "RuntimeError: no head"


def test_a_network_that_fails_fails_its_heads_without_another_try(lesions, log):
    _, task = task_of(lesions, log, broken="trunk")
    first = Cell("none", "net", 0, 0)
    outcomes = [*with_followers((run_cell(first, lesions, task) for _ in "1"), task.followers)]
    assert [outcome.cell for outcome in outcomes] == [first, *task.followers[first]]
    assert outcomes[0].reason == "RuntimeError: no trunk"
    assert {one.reason for one in outcomes[1:]} == {"its networks failed: RuntimeError: no trunk"}
    assert log() == 1


def test_answers_do_not_depend_on_the_trunk_of_others(run, lesions, log):
    _, task = task_of(lesions, log)
    alone = run_cell(Cell("tau_norm", "net", 0, 1), lesions, replace(task, followers={}))
    frame = run.predictions.query("sampler == 'tau_norm' and fold == 1")
    np.testing.assert_array_equal(alone.probabilities, frame.filter(like="p_").to_numpy())
