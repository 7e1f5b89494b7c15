"""Cells run into a store, those of a run and of trials: stored cells are found again, the others run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.limits import Limits
from skinmnist.experiment.execution.locks import hold_folder
from skinmnist.experiment.execution.runner import choose_engine
from skinmnist.experiment.fit_cell import Trial
from skinmnist.experiment.run_folder.store import CellStore, Provenance


class CellProgress(Protocol):
    """Receives the events of cells."""

    def waiting(self, folder: Path) -> None:
        """Another run holds the folder and must end first."""

    def finished(self, outcome: CellResult | CellFailure, seconds_left: float | None) -> None:
        """One more cell, and the wall seconds that are expected to be left."""


class TrialProgress(CellProgress, Protocol):
    """Receives the events of trials."""

    def leaking(self, cells: int, stored: int, notes: tuple[str, ...]) -> None:
        """Cells in all, cells that were stored before, and what is left out."""


def trial_provenance(trial: Trial, *identity: str) -> Provenance:
    """Return what stored cells must come from; `identity` names what they depend on beside the table."""
    digest = hashlib.sha256(" ".join((*identity, trial.name)).encode()).hexdigest()
    prints = {name: spec.fingerprint for name, spec in trial.task.models.items()}
    return Provenance.of_table(digest, prints, trial.table, trial.task.folds)


@dataclass(frozen=True)
class TrialRunner:
    """How trials run: `jobs` processes or a Dask cluster, each cell within its limits."""

    jobs: int
    limits: Limits
    dask: str | None = None
    progress: TrialProgress | None = None

    def announce(self, trials: Sequence[tuple[Trial, CellStore]], notes: tuple[str, ...] = ()) -> None:
        """Report how many cells there are, and how many of them are stored."""
        if self.progress:
            stored = sum(store.load(cell) is not None for trial, store in trials for cell in trial.cells)
            self.progress.leaking(sum(len(trial.cells) for trial, _ in trials), stored, notes)

    def run(self, trial: Trial, store: CellStore) -> list[CellFailure]:
        """Run the cells that are not stored, the longest first, and return those that failed.

        Of two runs at once in one folder, the second waits for the first and takes over its cells.
        """
        progress, failures = self.progress, dict[Cell, CellFailure]()
        engine = choose_engine(self.dask, trial.table, trial.task, self.jobs, self.limits)
        with hold_folder(store.folder, lambda: progress.waiting(store.folder) if progress else None):
            store.sweep()
            missing = [cell for cell in trial.cells if store.load(cell) is None]
            missing.sort(key=lambda cell: -trial.task.models[cell.model].cost.seconds)
            report = (lambda outcome: progress.finished(outcome, None)) if progress else None
            store_outcomes(engine(missing), store, set(), failures, report)
        return list(failures.values())


def store_outcomes(
    outcomes: Generator[CellResult | CellFailure],
    store: CellStore,
    done: set[Cell],
    failures: dict[Cell, CellFailure],
    report: Callable[[CellResult | CellFailure], None] | None,
) -> None:
    """Store cells as they come; `done` and `failures` fill up on the way, whatever ends it."""
    with closing(outcomes):
        for outcome in outcomes:
            if isinstance(outcome, CellFailure):
                failures[outcome.cell] = outcome
            else:
                store.save(outcome)
                done.add(outcome.cell)
            if report:
                report(outcome)
