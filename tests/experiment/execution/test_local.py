"""Workers have the libraries of their cells; a function in the background gives what it gives here."""

import os
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import chain
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from skinmnist.datasets.mapped import pass_table
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure
from skinmnist.experiment.execution import local
from skinmnist.experiment.execution.local import (
    LocalPool,
    Worker,
    choose_libraries,
    end_idle,
    hire,
    libraries_for,
    release,
    run_in_background,
    start_workers,
    workers_ahead,
)
from skinmnist.experiment.execution.machine import NO_LIMITS
from skinmnist.experiment.execution.runner import finish_cells
from skinmnist.experiment.execution.worker import CELLS
from skinmnist.experiment.plan import make_plan
from skinmnist.models.registry import DEFAULT_MODELS, MODELS


@pytest.fixture(autouse=True)
def nobody_idle():
    end_idle()
    yield
    end_idle()


def model(library="", seconds=1.0):
    return SimpleNamespace(cost=SimpleNamespace(library=library, seconds=seconds))


def process_of(parent, trace):
    """Tell who computes; end any process but the parent, which leaves a trace."""
    if os.getpid() != parent:
        trace.touch()
        os._exit(1)
    return os.getpid()


def imported(name):
    return name in sys.modules


def test_with_two_jobs_another_process_computes_and_with_one_this_does():
    assert run_in_background(os.getpid, jobs=2)() != os.getpid()
    assert run_in_background(os.getpid, jobs=1)() == os.getpid()


def test_the_result_and_what_is_raised_come_back():
    assert run_in_background(divmod, 17, 5, jobs=2)() == (3, 2)
    with pytest.raises(ZeroDivisionError):
        run_in_background(divmod, 1, 0, jobs=2)()


def test_where_its_worker_dies_the_function_runs_here(tmp_path):
    trace = tmp_path / "worker"
    assert run_in_background(process_of, os.getpid(), trace, jobs=2)() == os.getpid()
    assert trace.exists()


@pytest.mark.parametrize(
    ("models", "jobs", "chosen"),
    [
        ([model()], 3, [CELLS, CELLS, CELLS]),
        ([model("nets")], 2, ["nets", "nets"]),
        ([model(seconds=8), model("nets", seconds=8)], 2, ["nets", CELLS]),
        ([model(seconds=8), model("nets", seconds=8)], 1, ["nets"]),
        ([model(seconds=30), model("nets", seconds=1)], 4, ["nets", CELLS, CELLS, CELLS]),
        ([model(seconds=2), model("nets", seconds=14)], 8, ["nets"] * 7 + [CELLS]),
        ([model("a", seconds=1), model("b", seconds=9)], 3, ["a", "b", "b"]),
        ([model("a"), model("b"), model("c"), model()], 2, ["a", "b"]),
        ([model("nets", seconds=0), model(seconds=0)], 2, ["nets", CELLS]),
        ([MODELS[name] for name in DEFAULT_MODELS], 2, [MODELS["cnn"].cost.library, CELLS]),
        ([], 1, [CELLS]),
    ],
)
def test_libraries_get_workers_in_proportion_to_the_seconds_of_their_models(models, jobs, chosen):
    assert choose_libraries(models, jobs) == chosen


def test_a_run_uses_the_workers_that_were_started_for_it_with_their_libraries():
    task = SimpleNamespace(models={"one": model("wave"), "two": model()})
    cells = [Cell("none", name, 0, 0) for name in task.models]
    start_workers(libraries_for(cells, task, jobs=5))
    started = list(local._idle)
    assert [worker.library for worker in started] == ["wave", CELLS]
    workers = hire([CELLS, "wave"])
    assert workers == started[::-1]
    assert [worker.submit(imported, "wave").result() for worker in workers] == [False, True]
    release(workers)
    background = hire([""])
    assert background[0] in started
    assert not local._idle
    release(background)


def test_the_report_is_drawn_by_the_worker_that_was_started_for_it():
    start_workers(["wave"])
    (started,) = local._idle
    assert run_in_background(imported, "wave", jobs=2)()
    assert local._idle == [started]


def ended(number):
    """Wait until a process has ended."""
    deadline = time.monotonic() + 60
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_that_died_while_it_was_idle_is_replaced():
    (worker,) = hire(["wave"])
    number = worker.submit(os.getpid).result()
    psutil.Process(number).kill()
    ended(number)
    found, deadline = number, time.monotonic() + 60
    while found == number:
        assert time.monotonic() < deadline
        with suppress(BrokenProcessPool):  # Its executor has not noticed yet.
            found = worker.submit(os.getpid).result()
    assert worker.submit(imported, "wave").result()
    release([worker])


@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs were given:UserWarning")
def test_a_worker_whose_idle_process_has_ended_starts_again_before_its_cells(monkeypatch):
    monkeypatch.setattr(local, "_IDLE_SECONDS", 0.2)
    start_workers(["wave"])
    (worker,) = local._idle
    ended(worker.submit(os.getpid).result())
    (hired,) = hire(["wave"])
    assert hired is worker
    assert hired._last.result() != 0
    release([hired])


def test_a_worker_that_was_ended_starts_again_with_the_next_work():
    worker = Worker("wave")
    worker.end()
    assert worker.submit(imported, "wave").result()
    worker.end()


def test_an_interrupt_while_a_worker_ends_still_kills_it(monkeypatch):
    worker = Worker("wave")
    number = worker.submit(os.getpid).result()
    worker._last = Future()  # Work that never leaves this process.

    def interrupted(seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(local.time, "sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            worker.end()
    ended(number)


def test_a_worker_starts_anew_with_another_library():
    worker = Worker("wave")
    first = worker.submit(os.getpid).result()
    worker.restart("colorsys")
    assert worker.submit(os.getpid).result() != first
    assert [worker.submit(imported, name).result() for name in ("wave", "colorsys")] == [False, True]
    worker.end()
    assert not psutil.pid_exists(first)


def test_workers_with_cells_end_and_the_others_stay():
    busy, free = hire(["wave", "wave"])
    number = busy.submit(os.getpid).result()
    busy.cells.append(Cell("none", "one", 0, 0))
    busy.submit(time.sleep, 600)
    release([busy, free])
    assert local._idle == [free]
    ended(number)


def test_workers_started_ahead_run_the_cells_and_end_where_the_preparation_fails():
    with workers_ahead([model("wave")], jobs=1):
        (ahead,) = local._idle
        number = ahead.submit(os.getpid).result()
    assert hire(["wave"]) == [ahead]
    release([ahead])
    with pytest.raises(InputError, match="no table"), workers_ahead([model("wave")], jobs=1):
        raise InputError("no table")
    assert not local._idle
    assert not psutil.pid_exists(number)


class Hands:
    """A worker that only notes what it is given, with the library that it starts with."""

    def __init__(self, library):
        self.library, self.cells, self.given = library, [], []

    def submit(self, function, cell, *others):
        self.given.append(cell)
        return cell

    def restart(self, library):
        self.library = library


def pool_of(libraries, tmp_path, seconds):
    models = {"net": model("nets", seconds), "tree": model()}
    task = SimpleNamespace(models=models, folds=np.zeros((1, 8012), np.int8))
    pool = LocalPool(tmp_path / "table", task, len(libraries), NO_LIMITS)
    pool._workers = [Hands(library) for library in libraries]
    return pool


def cells_of(*models, folds):
    return [Cell("none", name, 0, fold) for fold in range(folds) for name in models]


def work(pool, waiting):
    """Let all workers finish their first cell again and again, and return the cells of each of them."""
    waiting = list(waiting)
    while waiting or any(worker.cells for worker in pool._workers):
        free = not any(worker.cells for worker in pool._workers)
        given = list(pool.give(waiting, 0))
        assert given or not free
        for worker in pool._workers:
            if worker.cells:
                pool.returned(worker.cells[0], None)
    return [worker.given for worker in pool._workers]


@pytest.mark.parametrize(
    "libraries", [["nets"], ["nets", CELLS], [CELLS, CELLS, "nets"], ["nets", "nets"], [CELLS]]
)
def test_every_cell_is_given_once_and_only_to_workers_with_its_library(tmp_path, libraries):
    cells = cells_of("tree", "net", "tree2", folds=5)
    pool = pool_of(libraries, tmp_path, seconds=0.1)
    pool.task.models["tree2"] = model()
    pool._expected["tree2"] = 1.0
    given = work(pool, cells)
    assert sorted(chain(*given)) == sorted(cells)
    if "nets" in libraries:
        for library, own in zip(libraries, given, strict=True):
            assert library == "nets" or not [cell for cell in own if cell.model == "net"]


def test_workers_with_a_library_take_its_cells_of_the_first_fold_and_then_help_with_that_fold(tmp_path):
    pool = pool_of(["nets", CELLS], tmp_path, seconds=0.1)
    waiting = cells_of("tree", "tree", "tree", "net", folds=4)
    waiting = [cell._replace(sampler=str(number)) for number, cell in enumerate(waiting)]
    net, tree = ([cell for cell in waiting if cell.model == name] for name in ("net", "tree"))
    list(pool.give(waiting, 0))
    assert [worker.given for worker in pool._workers] == [[net[0], tree[1]], [tree[0], tree[2]]]


def test_workers_with_a_library_leave_other_cells_where_their_own_take_longer(tmp_path):
    pool = pool_of(["nets", CELLS], tmp_path, seconds=9.0)
    net, tree = (cells_of(name, folds=4) for name in ("net", "tree"))
    waiting = sorted([*net[1:], *tree], key=lambda cell: cell.fold)
    list(pool.give(waiting, 0))
    assert [worker.given for worker in pool._workers] == [net[1:3], tree[:2]]


def test_another_worker_starts_with_the_library_only_where_that_pays(tmp_path):
    for seconds, restarted in ((1.0, False), (20.0, True)):
        pool = pool_of(["nets", CELLS], tmp_path, seconds)
        waiting = cells_of("net", folds=3)
        list(pool.give(waiting, 0))
        assert (pool._workers[1].library == "nets") == restarted
        assert len(waiting) == (1 if restarted else 2)


def test_near_the_end_no_cell_waits_behind_another(tmp_path):
    pool = pool_of([CELLS, CELLS], tmp_path, seconds=1.0)
    for number, deepest in ((9, 2), (6, 2), (5, 2), (4, 1), (3, 1)):
        for worker in pool._workers:
            worker.cells.clear()
        list(pool.give(cells_of("tree", folds=number), 0))
        assert max(len(worker.cells) for worker in pool._workers) == deepest


def test_a_cell_behind_one_that_kills_its_worker_runs_and_the_killer_is_run_again_alone(
    lesions, tmp_path, monkeypatch
):
    plan = make_plan(lesions, ("none",), ["dummy"], 5, 1, None, 0, None)
    pass_table(lesions, tmp_path / "table")
    monkeypatch.setattr(local, "run_cell_from_file", run_or_die)
    outcomes = list(finish_cells(LocalPool(tmp_path / "table", plan.task, 1, NO_LIMITS), plan.cells))
    assert sorted(outcome.cell for outcome in outcomes) == sorted(plan.cells)
    assert outcomes[-1] == CellFailure(plan.cells[0], outcomes[-1].reason)
    assert "its worker process died" in outcomes[-1].reason
    assert all(outcome.reason == "was run" for outcome in outcomes[:-1])
    assert not list(tmp_path.glob("pid-*"))


def test_a_cell_behind_two_that_kill_their_workers_is_run_alone(lesions, tmp_path, monkeypatch):
    plan = make_plan(lesions, ("none",), ["dummy"], 5, 1, None, 0, None)
    pass_table(lesions, tmp_path / "table")
    monkeypatch.setattr(local, "run_cell_from_file", run_or_die_early)
    outcomes = list(finish_cells(LocalPool(tmp_path / "table", plan.task, 1, NO_LIMITS), plan.cells))
    assert sorted(outcome.cell for outcome in outcomes) == sorted(plan.cells)
    reasons = {outcome.cell.fold: outcome.reason for outcome in outcomes}
    assert [reasons[fold] == "was run" for fold in range(5)] == [False, False, True, True, True]


def run_or_die_early(cell, path, task, pid_path, seconds):
    """End the process in the first two folds before it tells that it runs."""
    if cell.fold < 2:
        os._exit(1)
    return CellFailure(cell, "was run")


def run_or_die(cell, path, task, pid_path, seconds):
    """End the process in the first fold; otherwise, fail for a reason that tells the cell was run."""
    if cell.fold == 0:
        pid_path.write_text(str(os.getpid()), encoding="ascii")
        os._exit(1)
    return CellFailure(cell, "was run")
