"""Cells on a Dask cluster: the same code, keys and bytes as in worker processes on this machine.

The only file that imports Dask, and it is imported only where ``--dask`` asks for it.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
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
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.limits import NO_LIMITS, Limits
from skinmnist.experiment.execution.runner import Outcome, finish_cells, outcomes_of
from skinmnist.experiment.execution.scratch import scratch_folder
from skinmnist.experiment.execution.worker import alarm, work
from skinmnist.experiment.fit_cell import Task
from skinmnist.experiment.plan import environment
from skinmnist.text import one_line

LOCAL = "local"
_environment = lru_cache(maxsize=1)(environment)
_NAME = "skinmnist-"
#: Pixels that are sent to workers at most; the client and the scheduler hold copies of them, too.
MOST_BYTES = 1 << 31
#: Seconds to wait for a scheduler, and for its first worker, which imports everything first.
_PATIENCE, _STARTING = 60, 300

#: One cell at a time for each worker, memory looked after by the nanny outside of the worker, and two workers
#: for a cell that kills them: then it runs alone.
_LOCAL_SETTINGS = {
    # On a busy machine a worker takes its time to come back; by default it is given up after 15 s.
    "distributed.deploy.lost-worker-timeout": f"{_STARTING} s",
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-saturation": 1.0,
    # A library that lets no other thread run for minutes, or a busy machine, is no lost worker.
    "distributed.scheduler.worker-ttl": None,
    "distributed.comm.timeouts.connect": "120s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 1.0,
    # Their web servers show tasks to everybody on this machine.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
#: Ctrl-C reaches the whole group; the client alone decides what it means.
_PRELOAD = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


def run_on_cluster(
    cells: Sequence[Cell],
    table: PixelTable,
    task: Task,
    address: str,
    jobs: int,
    limits: Limits = NO_LIMITS,
) -> Generator[Outcome]:
    """Run cells on a Dask cluster and yield what becomes of each, as it is done.

    Cells of workers that are lost run again elsewhere. A cell that loses worker after worker fails alone.

    Parameters
    ----------
    cells, task
        As of `skinmnist.experiment.execution.runner.run_cells`.
    table : PixelTable
        Sent to each worker once, also to those that come later.
    address : str
        Of a scheduler, such as ``"tls://host:8786"``, or ``"local"``: a cluster of `jobs` processes on this
        machine. Whoever can reach a scheduler without TLS can run code on its workers, and through their
        answers here.
    jobs : int
        Worker processes of a local cluster.
    limits : Limits
        The time limit ends a worker from inside. The memory limit is that of a local cluster's workers; on
        other clusters ``dask worker --memory-limit`` sets it.

    Raises
    ------
    InputError
        Where no scheduler answers, where workers have other versions or several threads, and for a table too
        large to be sent.
    """
    if not cells:
        return
    if table.pixels.nbytes > MOST_BYTES:
        raise InputError(
            f"received a table of {table.pixels.nbytes / 1e9:.1f} GB with --dask, which is sent whole to "
            f"every worker; expected at most {MOST_BYTES / 1e9:.1f} GB, so run it with --jobs"
        )
    with _client(address, min(jobs, len(cells)), limits) as client:
        inputs = SharedInputs(table, task, client.id)
        pool = DaskPool(client, inputs.name, limits)
        with _sent(client, inputs), closing(finish_cells(pool, cells)) as outcomes:
            yield from outcomes


@contextmanager
def _local_cluster(jobs: int, limits: Limits) -> Iterator[LocalCluster]:
    """Start worker processes that obey this process alone, not every user of the machine."""
    try:
        security = Security.temporary()
    except ImportError:
        raise InputError(
            "received --dask local, but cryptography is not installed; install skinmnist with the extra "
            "'cluster'"
        ) from None
    with (
        scratch_folder() as folder,
        dask.config.set(_LOCAL_SETTINGS),
        LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            memory_limit=int((limits.megabytes or 0) * 2**20),
            security=security,
            local_directory=str(folder),
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
            preload=[_PRELOAD],
        ) as cluster,
    ):
        yield cluster


@contextmanager
def _client(address: str, jobs: int, limits: Limits) -> Iterator[Client]:
    """Connect to a cluster whose workers may be trusted with cells."""
    with ExitStack() as stack:
        where = stack.enter_context(_local_cluster(jobs, limits)) if address == LOCAL else address
        try:
            client = stack.enter_context(Client(where, timeout=_PATIENCE, set_as_default=False))
            client.wait_for_workers(1, timeout=_STARTING)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"no Dask cluster answers at {address!r} ({error}); start `dask scheduler` and "
                "`dask worker`, or give --dask local"
            ) from None
        for worker, found in client.run(examine_worker, environment(), on_error="return").items():
            if isinstance(found, OSError):
                continue  # It died meanwhile; whoever gets a cell is examined once more.
            if isinstance(found, Exception):
                raise InputError(
                    f"the worker {worker} cannot run skinmnist ({one_line(str(found))}); install the same "
                    "versions there, and models of your own"
                )
            if found:
                raise InputError(f"the worker {worker} {found}")
        for name in client.run_on_scheduler(abandoned_inputs):
            client.unregister_worker_plugin(name)
        yield client


def abandoned_inputs(dask_scheduler: Scheduler) -> list[str]:
    """Return the names of inputs whose clients died before they could take them back."""
    return [
        name
        for name in dask_scheduler.worker_plugins
        if name.startswith(_NAME) and name.removeprefix(_NAME) not in dask_scheduler.clients
    ]


def examine_worker(known: dict[str, str], dask_worker: Worker) -> str | None:
    """Say why the cells of this process could differ from those of a client whose environment is known."""
    threads = dask_worker.state.nthreads
    if threads > 1:
        return f"has {threads} threads; expected one for each cell, so start it with --nthreads 1"
    own = _environment()
    for name in sorted(known | own):
        if known.get(name) != own.get(name):
            return (
                f"has {name} {own.get(name)} where the client has {known.get(name)}; expected the same, so "
                "install the same versions, and run on processors of one kind"
            )
    return None


class SharedInputs(WorkerPlugin):
    """What all cells of a run need, sent to each worker once: the scheduler hands it to all that register."""

    def __init__(self, table: PixelTable, task: Task, client: str) -> None:
        self.table = replace(table, pixels=np.asarray(table.pixels))
        self.task = task
        self.known = environment()
        # Another run of the same program on the same cluster must not find these.
        self.name = _NAME + client


@contextmanager
def _sent(client: Client, inputs: SharedInputs) -> Iterator[None]:
    """Have the scheduler hand the inputs to every worker, now and later, until the block ends."""
    client.register_plugin(inputs)
    try:
        yield
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(inputs.name)


class DaskPool:
    """Workers of a Dask cluster: the `Pool` of ``--dask``, and the `Onlooker` that waits for new ones.

    Parameters
    ----------
    client : distributed.Client
    inputs : str
        Name of the `SharedInputs` that the workers have.
    limits : Limits
    """

    interval = 5.0

    def __init__(self, client: Client, inputs: str, limits: Limits) -> None:
        self.client = client
        self.inputs = inputs
        self.last_words = "its worker died again and again: a crash, out of memory, or beyond a limit"
        self._seconds = limits.seconds
        self._alone_since: float | None = None

    def run(self, cells: Sequence[Cell]) -> Generator[Outcome]:
        """Yield outcomes as they come, all but those of cells that lost worker after worker."""
        if self.client.status != "running":
            raise InputError(
                "the Dask cluster is gone; start it again and type the same command, which goes on from there"
            )
        executor = self.client.get_executor(pure=False)
        try:
            yield from outcomes_of(
                executor,
                cells,
                self._submit,
                self._ahead,
                watch=self,
                lost=(KilledWorker, CancelledError),
            )
        finally:
            executor.shutdown(wait=False)

    def suspects(self, left: Sequence[Cell]) -> Sequence[Cell]:
        """Return all that have no outcome: Dask tried each on several workers."""
        return left

    def finished(self, cell: Cell) -> None:
        """Take no note of a cell."""

    def look(self) -> None:
        """Give up where there has been no worker for minutes.

        Raises
        ------
        InputError
        """
        if self.client.status != "running" or self.client.nthreads():
            self._alone_since = None
            return
        now = time.monotonic()
        self._alone_since = self._alone_since or now
        if now - self._alone_since > _STARTING:
            raise InputError(
                f"the Dask cluster has had no worker for {_STARTING:g} s; start `dask worker` and type the "
                "same command again, which goes on from there"
            )

    def _submit(self, executor: Executor, cell: Cell) -> Future[Outcome]:
        return executor.submit(work_on_cluster, cell, self.inputs, self._seconds)

    def _ahead(self) -> int:
        """Return how many cells to hand over: workers come and go."""
        return 2 * max(1, len(self.client.nthreads()))


def work_on_cluster(cell: Cell, inputs: str, seconds: float | None) -> CellResult | CellFailure:
    """Run one cell on the `SharedInputs` of that name, which this worker got when it registered."""
    worker = get_worker()
    shared: SharedInputs = worker.plugins[inputs]
    difference = examine_worker(shared.known, worker)
    if difference:  # It came after the client had asked the others.
        return CellFailure(cell, f"its worker {difference}")
    library = shared.task.models[cell.model].library
    if library:
        importlib.import_module(library)
    with alarm(seconds), threadpool_limits(1):
        return work(cell, shared.table, shared.task)
