"""A function in a worker process gives what it gives here, whatever becomes of the worker."""

import os

import pytest

from skinmnist.experiment.execution.background import start_in_background


def process_of(parent, trace):
    """Tell who computes; end any process but the parent, which leaves a trace."""
    if os.getpid() != parent:
        trace.touch()
        os._exit(1)
    return os.getpid()


def test_with_two_jobs_another_process_computes_and_with_one_this_does():
    assert start_in_background(os.getpid, jobs=2)() != os.getpid()
    assert start_in_background(os.getpid, jobs=1)() == os.getpid()


def test_the_result_and_what_is_raised_come_back():
    assert start_in_background(divmod, 17, 5, jobs=2)() == (3, 2)
    with pytest.raises(ZeroDivisionError):
        start_in_background(divmod, 1, 0, jobs=2)()


def test_where_its_worker_dies_the_function_runs_here(tmp_path):
    trace = tmp_path / "worker"
    assert start_in_background(process_of, os.getpid(), trace, jobs=2)() == os.getpid()
    assert trace.exists()
