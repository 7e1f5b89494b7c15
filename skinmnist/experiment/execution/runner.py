"""Run cells in parallel, in worker processes or on a Dask cluster; a failed cell does not affect the others.

Cells of runs and trials are kept in a store: stored cells are reused, and the others are run.
"""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.machine import Limits, Monitor, OnRunning
from skinmnist.experiment.run_folder.folder import hold_folder, log_event
from skinmnist.experiment.run_folder.store import CellStore, Provenance

if TYPE_CHECKING:
    from skinmnist.experiment.fit_cell import Task, Trial
    from skinmnist.experiment.run_folder.record import RunRecord

Outcome = CellResult | CellFailure


class Engine(Protocol):
    """A callable that runs cells."""

    def __call__(self, cells: Sequence[Cell], *, on_running: OnRunning | None = None) -> Generator[Outcome]:
        """Yield the outcome of each cell as it finishes."""


def choose_engine(dask: str | None, table: PixelTable, task: Task, jobs: int, limits: Limits) -> Engine:
    """Return the engine that runs the cells of a task.

    `dask` is the address of a scheduler, or ``"local"``; None selects worker processes on this machine.
    """
    if dask is None:
        from skinmnist.experiment.execution.local import run_cells

        return partial(run_cells, table=table, task=task, jobs=jobs, limits=limits)
    try:
        from skinmnist.experiment.execution.dask import run_on_cluster
    except ModuleNotFoundError as error:
        raise InputError(
            f"received --dask, but {error.name} is not installed; install skinmnist with the extra 'cluster'"
        ) from None
    return partial(run_on_cluster, table=table, task=task, address=dask, jobs=jobs, limits=limits)


def with_followers(
    outcomes: Generator[Outcome], followers: Mapping[Cell, tuple[Cell, ...]]
) -> Generator[Outcome]:
    """Yield every outcome, followed by those of its followers, which fail if their networks have failed."""
    with closing(outcomes):
        for outcome in outcomes:
            yield replace(outcome, followers=())
            found = {follower.cell: follower for follower in outcome.followers}
            for cell in followers.get(outcome.cell, ()):
                reason = outcome.reason if isinstance(outcome, CellFailure) else "no result"
                yield found.get(cell) or CellFailure(cell, f"its networks failed: {reason}")


class Pool(ABC):
    """Processes that run cells, on this machine or elsewhere."""

    #: The reason why the last lost cell has no outcome.
    reason: str
    #: The exceptions of a cell whose process has died, as opposed to a cell that has failed.
    lost_with: tuple[type[Exception], ...]
    monitor: Monitor

    @abstractmethod
    def run(self, cells: Sequence[Cell]) -> Generator[Outcome]:
        """Yield outcomes as they arrive, except those of cells that may have killed their process."""

    @abstractmethod
    def give(self, waiting: list[Cell], running: int) -> Iterator[tuple[Cell, Future[Outcome]]]:
        """Take cells for free workers out of those that wait, and yield them; `running` have been given.

        If nothing is running, at least one cell is given.
        """

    @abstractmethod
    def running(self, given: Sequence[Cell]) -> list[Cell]:
        """Return those of the given cells that a worker runs or is about to run."""

    def returned(self, cell: Cell, outcome: Outcome | None) -> None:
        """Receive a cell that has left its worker, with its outcome; None if it is lost."""
        return None

    def lost(self, cell: Cell, error: Exception, waiting: list[Cell]) -> Outcome | None:
        """Return the outcome of a cell whose process has died, if it is known; it may also wait again."""
        return None


def finish_cells(pool: Pool, cells: Sequence[Cell]) -> Generator[Outcome]:
    """Run cells until each has an outcome, even if workers die.

    If a worker process dies, the cell that it was running may have killed it; such cells are rerun at the
    end, one at a time.
    """
    left = list(cells)
    with closing(pool.run(cells)) as outcomes:
        for outcome in outcomes:
            left.remove(outcome.cell)
            yield outcome
    if left:
        log_event("worker died", words=pool.reason, again=[str(cell) for cell in left])
    for cell in left:
        with closing(pool.run((cell,))) as outcomes:
            alone = next(outcomes, None)
        yield alone or CellFailure(cell, pool.reason)


def outcomes_of(pool: Pool, cells: Sequence[Cell]) -> Iterator[Outcome]:
    """Give cells to the workers of a pool, a few at a time, and yield outcomes as they arrive.

    Only a few cells are given at a time, to leave little pending work when a pool stops.
    """
    waiting, running, monitor = list(cells), dict[Future[Outcome], Cell](), pool.monitor
    with warnings.catch_warnings():
        # loky replaces workers whose memory has grown, which is intended.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
        while True:
            for cell, future in pool.give(waiting, len(running)):
                running[future] = cell
            monitor.occupied(pool.running(list(running.values())))
            if not running:
                return
            done, _ = wait(running, timeout=monitor.interval, return_when=FIRST_COMPLETED)
            for future in [future for future in running if future in done]:  # In submission order.
                cell, outcome = running.pop(future), None
                try:
                    outcome = future.result()
                except pool.lost_with as error:
                    outcome = pool.lost(cell, error, waiting)
                except Exception as error:  # The result of a model may not be picklable.
                    outcome = CellFailure.from_error(cell, error)
                pool.returned(cell, outcome)
                if outcome is not None:
                    monitor.finished(cell)
                    yield outcome
            monitor.check()


class CellProgress(Protocol):
    """Receive the events of cells."""

    def waiting(self, folder: Path) -> None:
        """Receive the folder that this run waits for because another run is using it."""

    def running(self, cells: Sequence[Cell]) -> None:
        """Receive all running cells."""

    def finished(self, outcome: CellResult | CellFailure, seconds_left: float | None) -> None:
        """Receive the outcome of a finished cell and the expected remaining wall seconds."""


class Progress(CellProgress, Protocol):
    """Receive the events of a run. Override the methods that you need.

    See Also
    --------
    run_comparison : Accepts an instance as `progress`.

    Examples
    --------
    >>> from skinmnist import Progress, make_lesions, run_comparison
    >>> class Plain(Progress):
    ...     def planned(self, cells, stored, notes):
    ...         print(f"{len(cells)} cells, {stored} stored")
    ...     def finished(self, outcome, seconds_left):
    ...         print(f"{outcome.cell.sampler} + {outcome.cell.model}")
    >>> table = make_lesions(60, size=8)
    >>> run = run_comparison(table, ["none"], ["dummy"], folds=2, jobs=1, progress=Plain())
    2 cells, 0 stored
    none + dummy
    none + dummy
    """

    def found(self, result: CellResult) -> None:
        """Receive a cell that was already stored."""

    def planned(self, cells: Sequence[Cell], stored: int, notes: Sequence[str]) -> None:
        """Receive the cells of this run, the number of stored cells, and notes on omissions."""

    def ranked(self, record: RunRecord, finished: int, planned: int) -> None:
        """Receive the results so far, once every pair has `finished` folds of those `planned`.

        Only long runs report this, for the first fold and for some of the later ones.
        """


class TrialProgress(CellProgress, Protocol):
    """Receive the events of trials."""

    def leaking(self, cells: int, stored: int, notes: tuple[str, ...]) -> None:
        """Receive the number of cells, the number of stored cells, and notes on omissions."""


def trial_provenance(trial: Trial, *identity: str) -> Provenance:
    """Return the provenance of stored cells; `identity` adds their dependencies other than the table."""
    digest = hashlib.sha256(" ".join((*identity, trial.name)).encode()).hexdigest()
    prints = {name: spec.fingerprint for name, spec in trial.task.models.items()}
    return Provenance.of_table(digest, prints, trial.table, trial.task.folds)


@dataclass(frozen=True)
class TrialRunner:
    """Run trials in `jobs` processes or on a Dask cluster, with limits for each cell."""

    jobs: int
    limits: Limits
    dask: str | None = None
    progress: TrialProgress | None = None

    def announce(self, trials: Sequence[tuple[Trial, CellStore]], notes: tuple[str, ...] = ()) -> None:
        """Report the total number of cells and the number of stored cells."""
        if self.progress:
            stored = sum(store.load(cell) is not None for trial, store in trials for cell in trial.cells)
            self.progress.leaking(sum(len(trial.cells) for trial, _ in trials), stored, notes)

    def run(self, trial: Trial, store: CellStore) -> list[CellFailure]:
        """Run the cells that are not stored, longest first, and return the failed cells.

        If two runs use a folder at the same time, the second waits for the first and then reuses its cells.
        """
        progress, failures = self.progress, dict[Cell, CellFailure]()
        engine = choose_engine(self.dask, trial.table, trial.task, self.jobs, self.limits)
        with hold_folder(store.folder, lambda: progress.waiting(store.folder) if progress else None):
            store.sweep()
            missing = [cell for cell in trial.cells if store.load(cell) is None]
            missing.sort(key=lambda cell: -trial.task.models[cell.model].cost.seconds)
            report = (lambda outcome: progress.finished(outcome, None)) if progress else None
            outcomes = engine(missing, on_running=progress.running if progress else None)
            store_outcomes(outcomes, store, set(), failures, report)
        return list(failures.values())


def store_outcomes(
    outcomes: Generator[CellResult | CellFailure],
    store: CellStore,
    done: set[Cell],
    failures: dict[Cell, CellFailure],
    report: Callable[[CellResult | CellFailure], None] | None,
) -> None:
    """Store cells as they arrive and update `done` and `failures`, even if the loop is interrupted."""
    with closing(outcomes):
        for outcome in outcomes:
            if isinstance(outcome, CellFailure):
                failures[outcome.cell] = outcome
            else:
                store.save(outcome)
                done.add(outcome.cell)
            if report:
                report(outcome)
