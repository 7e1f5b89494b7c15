"""Models that fail in every way: one failed row each, every other cell as in a run without them."""

import ctypes
import faulthandler
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.tree import DecisionTreeClassifier

from skinmnist import run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure
from skinmnist.experiment.execution import machine
from skinmnist.experiment.execution.machine import Limits
from skinmnist.experiment.fit_cell import cell_seeds
from skinmnist.models.spec import Cost, ModelSpec

FOLDS = 5
#: A worker takes about 250 MB; the hog stops at 1500 by itself. No sound cell takes minutes, however busy the
#: machine is; for the cell that hangs, the clock of the watch is put forward.
LIMITS = Limits(seconds=600, megabytes=900)


class Moody(ClassifierMixin, BaseEstimator):
    """Fails in one way."""

    def __init__(self, way, sign):
        self.way, self.sign = way, sign

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        getattr(self, f"_{self.way}", lambda: None)()
        return self

    def _raise(self):
        raise RuntimeError("no\nluck today")

    def _leave(self):
        sys.exit("enough")

    def _exit(self):
        os._exit(0)

    def _segfault(self):
        faulthandler.disable()  # It is meant.
        ctypes.string_at(0)

    def _hang(self):
        Path(self.sign).touch()
        time.sleep(3600)

    def _eat(self):
        meals = []
        while len(meals) < 300:
            meals.append(b"x" * (5 * 2**20))
            time.sleep(0.005)
        time.sleep(600)

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def predict_proba(self, X):
        if self.way == "shape":
            return np.full((len(X), 2), 0.5)
        return np.full((len(X), len(self.classes_)), np.nan)


REASONS = {
    "raise": "RuntimeError: no luck today",
    "leave": "SystemExit: enough",
    "exit": "its worker process died",
    "segfault": "SIGSEGV",
    "hang": "longer than 600 s",
    "eat": "more than 900 MB",
    "nan": "values that are not probabilities",
    "shape": "predict_proba returned the shape",
}


@pytest.fixture(scope="module")
def sign(tmp_path_factory):
    """The file that a cell makes before it hangs."""
    return tmp_path_factory.mktemp("faults") / "hanging"


class Clock:
    """Stands until a cell hangs, and is then put forward twice: the first look may be the cell's first."""

    def __init__(self, sign):
        self.sign, self.now, self.jumps = sign, 0.0, 0

    def monotonic(self):
        if self.sign.exists():
            self.now += 1000
            self.jumps += 1
            if self.jumps == 2:
                self.sign.unlink()
        return self.now


@pytest.fixture(autouse=True)
def clock(sign, monkeypatch):
    sign.unlink(missing_ok=True)
    monkeypatch.setattr(machine, "time", Clock(sign))


def run(lesions, faults, sign):
    """Run one cell for each fold; those in `faults` fail in their way.

    Where one hangs, they run one after the other: what runs beside it would be late as well.
    """
    ways = {cell_seeds(0, Cell("none", "tree", 0, fold))[1]: way for fold, way in faults.items()}

    def tree(setting):
        return DecisionTreeClassifier(max_depth=3, random_state=setting.seed)

    def build(setting):
        return Moody(ways[setting.seed], str(sign)) if setting.seed in ways else tree(setting)

    models = {
        "tree": ModelSpec("Tree", build, cost=Cost(library="sklearn.tree"))
    }  # Its import is no cell's time.
    jobs = 1 if "hang" in faults.values() else 2
    return run_comparison(lesions, "none", models, folds=FOLDS, jobs=jobs, limits=LIMITS)


@pytest.fixture(scope="module")
def clean(lesions, sign):
    record = run(lesions, {}, sign)
    assert len(record.results) == FOLDS
    return record


def check(record, clean, faults):
    assert {failure.cell.fold for failure in record.failures} == set(faults)
    for failure in record.failures:
        assert REASONS[faults[failure.cell.fold]] in failure.reason
        assert "\n" not in failure.reason
    entries = {entry.fold: entry.status for entry in record.info.cells}
    assert entries == {fold: "failed" if fold in faults else "done" for fold in range(FOLDS)}
    others = clean.scores[~clean.scores["fold"].isin(list(faults))].reset_index(drop=True)
    assert record.scores.equals(others)
    others = clean.predictions[~clean.predictions["fold"].isin(list(faults))].reset_index(drop=True)
    assert record.predictions.equals(others)


@pytest.mark.parametrize(
    "faults",
    [
        {0: "segfault", 2: "raise", 4: "exit"},
        {0: "hang", 1: "nan", 2: "eat", 3: "leave"},
    ],
    ids=lambda faults: "-".join(faults.values()),
)
def test_faults_in_company_fail_alone(lesions, clean, faults, sign):
    check(run(lesions, faults, sign), clean, faults)


@pytest.mark.slow
@pytest.mark.parametrize("way", REASONS)
@pytest.mark.parametrize("fold", [0, 2, 4])
def test_each_fault_at_each_place_fails_alone(lesions, clean, way, fold, sign):
    check(run(lesions, {fold: way}, sign), clean, {fold: way})
    assert not [child for child in psutil.Process().children(recursive=True) if child.status() == "zombie"]


class Parent(Moody):
    """Starts a process of its own and hangs."""

    def fit(self, X, y):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "child-of-a-model"])
        time.sleep(600)


def test_the_children_of_a_model_are_ended_with_it(lesions, monkeypatch):
    models = {"parent": Parent("hang", "")}
    monkeypatch.setattr(machine, "time", time)
    record = run_comparison(lesions, "none", models, folds=2, jobs=1, limits=Limits(seconds=2))
    assert len(record.failures) == 2
    assert not [
        process
        for process in psutil.process_iter(["cmdline"])
        if "child-of-a-model" in (process.info["cmdline"] or ())
    ]


class MuteError(Exception):
    def __str__(self):
        raise ValueError("says nothing")


def test_an_error_that_cannot_say_what_it_is():
    cell = Cell("none", "m", 0, 0)
    assert CellFailure.from_error(cell, MuteError()) == CellFailure(cell, "MuteError")


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"megabytes": -1}, {"seconds": float("nan")}])
def test_limits_are_above_zero(wrong):
    with pytest.raises(InputError, match="expected more than 0"):
        Limits(**wrong)


RUN = """
import time
from skinmnist import make_lesions, run_comparison
from skinmnist.models.spec import Cost, ModelSpec
def build(setting):
    time.sleep(600)
table = make_lesions(360, size=8, random_state=1)
run_comparison(table, "none", {"m": ModelSpec("m", build)}, folds=2, jobs=2)
"""


def test_no_worker_outlives_its_parent():
    """The parent alone is killed, as by a system that is out of memory, while its workers are busy."""
    parent = subprocess.Popen([sys.executable, "-c", RUN])
    workers = []
    deadline = time.monotonic() + 300
    while len(workers) < 2 and time.monotonic() < deadline and parent.poll() is None:
        children = psutil.Process(parent.pid).children()
        workers = [child for child in children if "popen_loky" in " ".join(child.cmdline())]
        time.sleep(0.2)
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=120)
    assert not alive


def test_the_watch_leaves_no_thread(lesions, sign):
    counts = []
    for _ in range(2):  # The threads of the workers' pool stay, in the first run and in the second.
        run(lesions, {1: "raise"}, sign)
        counts.append(threading.active_count())
    assert counts[1] <= counts[0]
