"""Run cells on a Dask cluster, with the same results as on this machine; imported only for ``--dask``."""

from __future__ import annotations

import importlib
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import lru_cache

import dask
import numpy as np
from distributed import Client, KilledWorker, LocalCluster, Scheduler, Worker, WorkerPlugin, get_worker
from distributed.security import Security
from threadpoolctl import threadpool_limits

from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure
from skinmnist.experiment.execution.machine import NO_LIMITS, Limits, Monitor, OnRunning
from skinmnist.experiment.execution.runner import Outcome, Pool, finish_cells, outcomes_of
from skinmnist.experiment.execution.worker import end_after, run_cell
from skinmnist.experiment.fit_cell import Task
from skinmnist.experiment.plan import environment
from skinmnist.experiment.run_folder.folder import scratch_folder
from skinmnist.text import one_line

_own_environment = lru_cache(maxsize=1)(environment)
_PREFIX = "skinmnist-"
#: Largest table in bytes; the client and the scheduler also keep copies of it.
MOST_BYTES = 1 << 31
#: Seconds to wait for a scheduler, and for its first worker, which first completes all imports.
_CONNECT_SECONDS, _STARTUP_SECONDS = 60, 300

#: A nanny outside each worker limits its memory; a cell that kills two workers is rerun alone. Timeouts are
#: long because machines may be busy and libraries may block all threads for minutes.
_LOCAL_SETTINGS: dict[str, object] = {
    "distributed.deploy.lost-worker-timeout": f"{_STARTUP_SECONDS} s",
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.worker-ttl": None,
    "distributed.comm.timeouts.connect": "120s",
    "distributed.worker.memory.terminate": 1.0,
    **{f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")},
    # Web servers would expose tasks to every user of this machine.
    **{f"distributed.{name}.http.routes": [] for name in ("scheduler", "worker")},
}


def run_on_cluster(
    cells: Sequence[Cell],
    table: PixelTable,
    task: Task,
    address: str,
    jobs: int,
    limits: Limits = NO_LIMITS,
    on_running: OnRunning | None = None,
) -> Generator[Outcome]:
    """Run cells on a Dask cluster and yield their outcomes, like `local.run_cells`.

    `address` is the address of a scheduler, such as ``"tls://host:8786"``, or ``"local"`` for `jobs`
    processes on this machine. Memory limits apply only to local processes. Without TLS, anyone who can reach
    a scheduler can run code there.
    """
    if not cells:
        return
    if table.pixels.nbytes > MOST_BYTES:
        size, most = (f"{n / 1e9:.1f} GB" for n in (table.pixels.nbytes, MOST_BYTES))
        raise InputError(
            f"received a table of {size} with --dask, which sends it to every worker; expected at most "
            f"{most}, so use --jobs instead"
        )
    with _connected(address, min(jobs, len(cells)), limits) as client:
        inputs = SharedInputs(table, task, client.id)
        client.register_plugin(inputs)
        try:
            with closing(finish_cells(DaskPool(client, inputs.name, limits, on_running), cells)) as outcomes:
                yield from outcomes
        finally:
            if client.status == "running":
                client.unregister_worker_plugin(inputs.name)


@contextmanager
def _connected(address: str, jobs: int, limits: Limits) -> Iterator[Client]:
    """Connect to a cluster whose workers compute the same results as this process."""
    with ExitStack() as stack:
        where = _start_local(stack, jobs, limits) if address == "local" else address
        try:
            client = stack.enter_context(Client(where, timeout=_CONNECT_SECONDS, set_as_default=False))
            client.wait_for_workers(1, timeout=_STARTUP_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"no Dask cluster answers at {address!r} ({error}); start `dask scheduler` and "
                "`dask worker`, or pass --dask local"
            ) from None
        for worker, answer in client.run(examine_worker, environment(), on_error="return").items():
            if isinstance(answer, OSError):
                continue  # This worker has died; workers are checked again before they run a cell.
            if isinstance(answer, Exception):
                answer = f"fails ({one_line(answer)}); install the same versions there, and your own models"
            if answer:
                raise InputError(f"the worker {worker} {answer}")
        for name in client.run_on_scheduler(abandoned_inputs):
            client.unregister_worker_plugin(name)
        yield client


def _start_local(stack: ExitStack, jobs: int, limits: Limits) -> LocalCluster:
    """Start worker processes that no other process and no other user of the machine can control."""
    try:
        security = Security.temporary()
    except ImportError:
        raise InputError("cryptography is not installed; --dask local needs the extra 'cluster'") from None
    scratch = {"temporary-directory": str(stack.enter_context(scratch_folder()))}
    stack.enter_context(dask.config.set(_LOCAL_SETTINGS | scratch))
    cluster = LocalCluster(
        n_workers=jobs,
        threads_per_worker=1,
        memory_limit=int((limits.megabytes or 0) * 2**20),
        security=security,
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        silence_logs="CRITICAL",
        # Ctrl-C reaches the whole process group; only the client handles it. `folder` relies on this text.
        preload=["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
    )
    return stack.enter_context(cluster)


def examine_worker(expected: dict[str, str], dask_worker: Worker) -> str | None:
    """Return the reason why the results of this worker could differ from those of the client."""
    if (threads := dask_worker.state.nthreads) > 1:
        return f"has {threads} threads; expected one per cell, so start it with --nthreads 1"
    own = _own_environment()
    for name in sorted(expected | own):
        if (theirs := expected.get(name)) != own.get(name):
            difference = f"has {name} {own.get(name)} but the client has {theirs}; expected the same"
            return f"{difference}, so install the same versions, and use processors of the same kind"
    return None


class SharedInputs(WorkerPlugin):
    """The inputs shared by all cells of a run; the scheduler sends them once to each worker."""

    def __init__(self, table: PixelTable, task: Task, client: str) -> None:
        self.table = replace(table, pixels=np.asarray(table.pixels))
        self.task, self.environment = task, environment()
        self.name = _PREFIX + client  # Unique for each run because a cluster may serve several runs at once.


def abandoned_inputs(dask_scheduler: Scheduler) -> list[str]:
    """Return the names of inputs whose clients died without removing them."""
    names = [name for name in dask_scheduler.worker_plugins if name.startswith(_PREFIX)]
    return [name for name in names if name.removeprefix(_PREFIX) not in dask_scheduler.clients]


class DaskPool(Pool, Monitor):
    """The workers of a Dask cluster; if all of them are gone, wait some time for new workers."""

    interval = 5.0
    reason = "its worker died repeatedly: a crash, out of memory, or beyond a limit"
    lost_with = (KilledWorker, CancelledError)

    def __init__(
        self, client: Client, inputs: str, limits: Limits, on_running: OnRunning | None = None
    ) -> None:
        super().__init__(on_running)
        self.monitor = self
        self.client, self.inputs, self.limits = client, inputs, limits
        self._idle_since: float | None = None

    def run(self, cells: Sequence[Cell]) -> Generator[Outcome]:
        """Yield outcomes as they arrive, except for cells whose workers die repeatedly."""
        if self.client.status != "running":
            raise InputError("the Dask cluster is gone; restart it and run the same command again to resume")
        self._executor = self.client.get_executor(pure=False)
        try:
            yield from outcomes_of(self, cells)
        finally:
            self._executor.shutdown(wait=False)

    def give(self, waiting: list[Cell], running: int) -> Iterator[tuple[Cell, Future[Outcome]]]:
        """Submit cells in order, two for each worker; workers process them in this order."""
        for cell in waiting[: max(0, 2 * self._workers() - running)]:
            waiting.remove(cell)
            yield cell, self._executor.submit(run_on_worker, cell, self.inputs, self.limits.seconds)

    def running(self, given: Sequence[Cell]) -> list[Cell]:
        """Return the first cells without an outcome, one for each worker."""
        return list(given[: self._workers()])

    def check(self) -> None:
        """Raise an `InputError` if there have been no workers for several minutes."""
        if self.client.status != "running" or self.client.nthreads():
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > _STARTUP_SECONDS:
            idle = f"the Dask cluster has had no worker for {_STARTUP_SECONDS:g} s"
            raise InputError(f"{idle}; start `dask worker` and run the same command again to resume")

    def _workers(self) -> int:
        return max(1, len(self.client.nthreads()))  # The number of workers changes over time.


def run_on_worker(cell: Cell, inputs: str, seconds: float | None) -> Outcome:
    """Run one cell on the named `SharedInputs`, which this worker received on registration."""
    worker = get_worker()
    shared: SharedInputs = worker.plugins[inputs]
    difference = examine_worker(shared.environment, worker)
    if difference:  # This worker joined after the client had checked the others.
        return CellFailure(cell, f"its worker {difference}")
    if library := shared.task.models[cell.model].cost.library:
        importlib.import_module(library)
    with end_after(seconds), threadpool_limits(1):
        return run_cell(cell, shared.table, shared.task)
