"""One function in a worker process, while the caller goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TypeVar

from joblib.externals.loky import get_reusable_executor

from skinmnist.experiment.execution.processes import ONE_THREAD, start_worker

Found = TypeVar("Found")


def start_in_background(function: Callable[..., Found], *arguments: Any, jobs: int) -> Callable[[], Found]:
    """Begin a function in a worker process and return what waits for its result.

    Parameters
    ----------
    function : callable
        One that a worker can import.
    *arguments : Any
    jobs : int
        With one job only, the function runs here, when its result is asked for; so it does where its worker
        dies. With more it is run by one worker.

    Returns
    -------
    callable
        Without arguments; it raises what the function raises.
    """
    if jobs < 2:
        return partial(function, *arguments)
    try:
        # One of those who have just run cells, whose libraries are imported, stays; the others end.
        executor = get_reusable_executor(
            max_workers=1, reuse=True, initializer=start_worker, initargs=((), os.getpid()), env=ONE_THREAD
        )
        future = executor.submit(function, *arguments)
    except BrokenProcessPool:
        return partial(function, *arguments)

    def result() -> Found:
        try:
            return future.result()
        except BrokenProcessPool:
            return function(*arguments)

    return result
