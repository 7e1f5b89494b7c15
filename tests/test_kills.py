"""Runs that are killed, and runs in pairs: the same bytes as in one go, no cell lost, none done twice.

The long forms are marked ``slow`` and print their figures with ``-s``.
"""

import collections
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

RUN = """
import sys, json
from skinmnist import make_lesions, run_comparison
table = make_lesions(360, size=8, random_state=1)
run_comparison(table, out=sys.argv[1], folds=3, jobs=2, **json.loads(sys.argv[2]))
"""
#: Fifty milliseconds a cell, and scores that depend on the cell.
SLOW = """
import time
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

class Slow(ClassifierMixin, BaseEstimator):
    def __init__(self, random_state=None):
        self.random_state = random_state
    def fit(self, X, y):
        time.sleep(0.05)
        self.classes_ = np.unique(y)
        return self
    def predict_proba(self, X):
        return np.random.default_rng(self.random_state).dirichlet(np.ones(len(self.classes_)), len(X))
    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
"""
REAL = {"samplers": ["none", "SMOTE"], "models": ["logistic_regression", "random_forest", "cnn_tiny"]}


def slow_grid(repeats):
    return {"samplers": ["none", "RandomOverSampler"], "models": ["slowly:Slow"], "repeats": repeats}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a run in a process group of its own."""
    (tmp_path / "slowly.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    started = []

    def start(folder, grid):
        command = [sys.executable, "-c", RUN, str(folder), json.dumps(grid)]
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        kill(process)


def kill(process):
    """Kill a run and all its workers, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()


def finish(process):
    complaint = process.stderr.read()
    assert process.wait() == 0, complaint


def cells(folder):
    return {path.name for path in (folder / "cells").glob("*.cell")}


def scores(folder):
    return (folder / "scores.csv").read_bytes()


def wait_until(condition, process):
    while process.poll() is None and not condition():
        time.sleep(0.005)


def check_kills(start, tmp_path, grid, kills, most_new, jitter):
    """Kill a run again and again, each time after a few more cells; then let it finish."""
    finish(start(tmp_path / "whole", grid))
    broken, rng, hits = tmp_path / "broken", np.random.default_rng(0), 0
    while hits < kills:
        before, process = cells(broken), start(broken, grid)
        wanted = len(before) + int(rng.integers(most_new + 1))
        wait_until(lambda wanted=wanted: len(cells(broken)) >= wanted, process)
        time.sleep(rng.uniform(0, jitter))
        assert process.poll() is None, "the run ended before all kills; give it more cells"
        kill(process)
        hits += 1
        assert before <= cells(broken), "a stored cell was lost"
    finish(start(broken, grid))
    assert scores(broken) == scores(tmp_path / "whole")
    assert cells(broken) == cells(tmp_path / "whole")
    assert {path.name for path in (broken / "cells").iterdir()} == {*cells(broken), ".lock"}
    events = [json.loads(line) for line in (broken / "run.log").read_text().splitlines()]
    told = collections.Counter(event["event"] for event in events)
    assert told["cell done"] <= len(cells(broken)), "a stored cell was computed again"
    print(f"\n{hits} kills, {len(cells(broken))} cells, log: {dict(told)}")


def test_killed_runs_end_in_the_same_bytes(start, tmp_path):
    check_kills(start, tmp_path, slow_grid(3), kills=2, most_new=6, jitter=0.1)


@pytest.mark.slow
def test_two_hundred_kills(start, tmp_path):
    # Half of the kills hit while nothing new is stored yet: at the start, or between two cells.
    check_kills(start, tmp_path, slow_grid(100), kills=200, most_new=3, jitter=0.15)


@pytest.mark.slow
def test_ten_kills_of_real_models(start, tmp_path):
    check_kills(start, tmp_path, REAL, kills=10, most_new=2, jitter=3)


def check_pairs(start, tmp_path, grid, pairs):
    finish(start(tmp_path / "whole", grid))
    rng, waited = np.random.default_rng(1), 0
    for pair in range(pairs):
        folder = tmp_path / f"pair-{pair}"
        both = [start(folder, grid), start(folder, grid)]
        if pair % 2:
            victim = both.pop(int(rng.integers(2)))
            wanted = int(rng.integers(len(cells(tmp_path / "whole"))))
            wait_until(lambda folder=folder, wanted=wanted: len(cells(folder)) >= wanted, victim)
            time.sleep(rng.uniform(0, 0.1))
            kill(victim)
        for process in both:
            finish(process)
        assert scores(folder) == scores(tmp_path / "whole")
        assert cells(folder) == cells(tmp_path / "whole")
        events = [json.loads(line) for line in (folder / "run.log").read_text().splitlines()]
        done = collections.Counter(
            tuple(event[name] for name in ("sampler", "model", "repeat", "fold"))
            for event in events
            if event["event"] == "cell done"
        )
        assert set(done.values()) == {1}, "a cell was done twice"
        waited += len({event["process"] for event in events}) == 2
    print(f"\n{pairs} pairs, in {waited} of them both runs held the folder, one after the other")


def test_a_pair_of_runs_and_a_pair_with_one_killed(start, tmp_path):
    check_pairs(start, tmp_path, slow_grid(2), pairs=2)


@pytest.mark.slow
def test_twenty_pairs(start, tmp_path):
    check_pairs(start, tmp_path, slow_grid(4), pairs=20)
