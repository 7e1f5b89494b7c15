"""Runs that are killed, and runs in pairs: the same bytes as in one go, no cell lost, none done twice.

The long forms are marked ``slow`` and print their figures with ``-s``.
"""

import collections
import json
import multiprocessing
import os
import signal
import sys
import time

import numpy as np
import pytest

#: A run whose cells take fifty milliseconds and have scores that depend on the cell. Every fit leaves a byte.
SLOWLY = """
import os, time
from pathlib import Path
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from skinmnist import make_lesions, run_comparison
from skinmnist.experiment.execution import local
from skinmnist.experiment.fit_cell import fit_cell

TABLE = make_lesions(360, size=8, random_state=1)

class Slow(ClassifierMixin, BaseEstimator):
    def __init__(self, random_state=None):
        self.random_state = random_state
    def fit(self, X, y):
        with open(os.environ["FITS"], "ab") as file:
            file.write(b".")
        time.sleep(0.05)
        self.classes_ = np.unique(y)
        return self
    def predict_proba(self, X):
        return np.random.default_rng(self.random_state).dirichlet(np.ones(len(self.classes_)), len(X))
    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

def in_this_process(cells, table, task, *more, **others):
    for cell in cells:
        yield fit_cell(cell, table, task)

def run(folder, grid, jobs, fits):
    os.setsid()
    os.environ["FITS"] = fits
    if not jobs:
        local.run_cells = in_this_process
    run_comparison(TABLE, out=folder, folds=3, jobs=jobs or 1, **grid)
    local.end_idle()  # Otherwise, the process waits until its workers have been idle.
"""
REAL = {
    "samplers": ["none", "SMOTE"],
    "models": ["logistic_regression", "random_forest", "cnn_tiny"],
    "repeats": 3,
}


def slow_grid(repeats):
    return {"samplers": ["none", "RandomOverSampler"], "models": ["slowly:Slow"], "repeats": repeats}


@pytest.fixture(scope="module")
def slowly(tmp_path_factory):
    """Make the module that runs, and a server that has imported it and forks quickly."""
    folder = tmp_path_factory.mktemp("slowly")
    (folder / "slowly.py").write_text(SLOWLY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        context = multiprocessing.get_context("forkserver")
        # What a run imports on its way is most of what it costs.
        context.set_forkserver_preload(["slowly", "skinmnist.experiment.comparison", "imblearn"])
        import slowly

        yield context, slowly.run


@pytest.fixture
def start(slowly, tmp_path):
    """Start a run in a process group of its own; without jobs its cells run in the process itself."""
    context, run = slowly
    started = []

    def start(folder, grid, jobs):
        fits = str(tmp_path / f"fits-{folder.name}")
        process = context.Process(target=run, args=(folder, grid, jobs, fits))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        kill(process)


def kill(process):
    """Kill a run and all its workers, if it still runs."""
    if process.is_alive():
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # It has not made a group of its own yet.
            process.kill()
    process.join()


def finish(process):
    process.join()
    assert process.exitcode == 0


def cells(folder):
    return {path.name for path in (folder / "cells").glob("*.cell")}


def scores(folder):
    return (folder / "scores.csv").read_bytes()


def wait_until(condition, process):
    while process.is_alive() and not condition():
        time.sleep(0.005)


def check_kills(start, tmp_path, grid, jobs, kills, most_new, jitter):
    """Kill a run again and again, each time after a few more cells; then let it finish."""
    finish(start(tmp_path / "whole", grid, 0))
    broken, rng, hits = tmp_path / "broken", np.random.default_rng(0), 0
    while hits < kills:
        before, process = cells(broken), start(broken, grid, jobs)
        wanted = len(before) + int(rng.integers(most_new + 1))
        wait_until(lambda wanted=wanted: len(cells(broken)) >= wanted, process)
        time.sleep(rng.uniform(0, jitter))
        assert process.is_alive(), "the run ended before all kills; give it more cells"
        kill(process)
        hits += 1
        assert before <= cells(broken), "a stored cell was lost"
    finish(start(broken, grid, jobs))
    assert scores(broken) == scores(tmp_path / "whole")
    assert cells(broken) == cells(tmp_path / "whole")
    assert {path.name for path in (broken / "cells").iterdir()} == {*cells(broken), ".lock"}
    events = [json.loads(line) for line in (broken / "run.log").read_text().splitlines()]
    told = collections.Counter(event["event"] for event in events)
    assert told["cell done"] <= len(cells(broken)), "a stored cell was computed again"
    fits = tmp_path / "fits-broken"
    again = fits.stat().st_size - len(cells(broken)) if fits.exists() else 0
    # Each of the workers may have begun another cell while the one before is on its way to the disk.
    assert again <= hits * max(1, 2 * jobs)
    print(f"\n{hits} kills, {len(cells(broken))} cells, {again} fits lost, log: {dict(told)}")


def test_killed_runs_end_in_the_same_bytes(start, tmp_path):
    check_kills(start, tmp_path, slow_grid(6), 0, kills=5, most_new=3, jitter=0.1)


def test_a_killed_run_with_workers_ends_in_the_same_bytes(start, tmp_path):
    check_kills(start, tmp_path, slow_grid(3), 2, kills=1, most_new=6, jitter=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "kills"), [(0, 200), (2, 30)], ids=["cells-in-the-run", "workers"])
def test_many_kills(start, tmp_path, jobs, kills):
    # Some kills hit while nothing new is stored yet: at the start, or between two cells.
    check_kills(start, tmp_path, slow_grid(100), jobs, kills, most_new=3, jitter=0.15)


@pytest.mark.slow
def test_ten_kills_of_real_models(start, tmp_path):
    check_kills(start, tmp_path, REAL, 2, kills=10, most_new=2, jitter=1.5)


def check_pairs(start, tmp_path, grid, jobs, pairs):
    finish(start(tmp_path / "whole", grid, jobs))
    rng, waited = np.random.default_rng(1), 0
    for pair in range(pairs):
        folder = tmp_path / f"pair-{pair}"
        both = [start(folder, grid, jobs), start(folder, grid, jobs)]
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


def test_pairs_of_runs_some_with_one_killed(start, tmp_path):
    check_pairs(start, tmp_path, slow_grid(2), 0, pairs=2)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [0, 2], ids=["cells-in-the-run", "workers"])
def test_twenty_pairs(start, tmp_path, jobs):
    check_pairs(start, tmp_path, slow_grid(4), jobs, pairs=20)
