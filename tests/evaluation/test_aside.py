"""A function in a worker process gives what it gives here, whatever becomes of the worker."""

import os

import pytest

from skinmnist.evaluation.aside import start_aside


def process_of(parent, trace):
    """Tell who computes; end any process but the parent, which leaves a trace."""
    if os.getpid() != parent:
        trace.touch()
        os._exit(1)
    return os.getpid()


def test_with_two_jobs_another_process_computes_and_with_one_this_does():
    assert start_aside(os.getpid, jobs=2)() != os.getpid()
    assert start_aside(os.getpid, jobs=1)() == os.getpid()


def test_the_result_and_what_is_raised_come_back():
    assert start_aside(divmod, 17, 5, jobs=2)() == (3, 2)
    with pytest.raises(ZeroDivisionError):
        start_aside(divmod, 1, 0, jobs=2)()


def test_where_its_worker_dies_the_function_runs_here(tmp_path):
    trace = tmp_path / "worker"
    assert start_aside(process_of, os.getpid(), trace, jobs=2)() == os.getpid()
    assert trace.exists()
