"""Workers start with their libraries frozen; a function in the background gives what it gives here."""

import gc
import os
import sys
from types import SimpleNamespace

import psutil
import pytest

from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.execution.worker import (
    import_frozen,
    pool_for,
    run_in_background,
    start_pool,
    workers_ahead,
)


def process_of(parent, trace):
    """Tell who computes; end any process but the parent, which leaves a trace."""
    if os.getpid() != parent:
        trace.touch()
        os._exit(1)
    return os.getpid()


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


def imported(name):
    return name in sys.modules


def test_a_run_uses_the_workers_that_were_started_for_it_with_their_libraries():
    task = SimpleNamespace(models={"one": SimpleNamespace(cost=SimpleNamespace(library="wave"))})
    cells = [Cell("none", "one", 0, fold) for fold in range(2)]
    start_pool(cells, task, jobs=1)
    started = pool_for(cells, task, jobs=1)
    assert pool_for(cells, task, jobs=1) is started
    assert started.submit(imported, "wave").result()


def test_workers_started_ahead_run_the_cells_and_end_where_the_preparation_fails():
    task = SimpleNamespace(models={"one": SimpleNamespace(cost=SimpleNamespace(library="wave"))})
    cells = [Cell("none", "one", 0, fold) for fold in range(2)]
    with workers_ahead(task.models.values(), jobs=1):
        ahead = pool_for(cells, task, jobs=1)
        number = ahead.submit(os.getpid).result()
    assert pool_for(cells, task, jobs=1).submit(os.getpid).result() == number
    with pytest.raises(InputError, match="no table"), workers_ahead(task.models.values(), jobs=1):
        raise InputError("no table")
    assert pool_for(cells, task, jobs=1).submit(os.getpid).result() != number
    assert not psutil.pid_exists(number)


@pytest.fixture
def thawed():
    yield
    gc.unfreeze()


def test_what_was_imported_is_looked_through_no_more_and_the_rest_is(tmp_path, monkeypatch, thawed):
    (tmp_path / "library_of_a_test.py").write_text("import gc\nlooked = gc.isenabled()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import_frozen(["library_of_a_test"])
    assert not sys.modules.pop("library_of_a_test").looked
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000
    ring = []
    ring.append(ring)
    del ring
    assert gc.collect() > 0


def test_the_collector_works_on_where_a_library_is_missing(thawed):
    with pytest.raises(ModuleNotFoundError):
        import_frozen(["no_library_of_this_name"])
    assert gc.isenabled()
