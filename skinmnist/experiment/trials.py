"""Trials: cells evaluated beside a run, on a table, folds or models that are not the run's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.limits import Limits
from skinmnist.experiment.execution.locks import hold_folder
from skinmnist.experiment.execution.runner import choose_engine
from skinmnist.experiment.fit_cell import Task
from skinmnist.experiment.run_folder.provenance import Provenance
from skinmnist.experiment.run_folder.store import CellStore
from skinmnist.resampling.registry import make_sampler, resample


class TrialProgress(Protocol):
    """Receives the events of trials."""

    def leaking(self, cells: int, stored: int, notes: tuple[str, ...]) -> None:
        """Cells in all, cells that were stored before, and what is left out."""

    def waiting(self, folder: Path) -> None:
        """Another run holds the folder and must end first."""

    def finished(self, outcome: CellResult | CellFailure, seconds_left: float | None) -> None:
        """One more cell."""


@dataclass(frozen=True, eq=False)
class LeakTrial:
    """Cells of one table and one task: one pass of the runner.

    Trials of one name hold the same table and folds; the name is also that of their folder.
    """

    name: str
    table: PixelTable
    task: Task
    cells: tuple[Cell, ...]

    def provenance(self, *identity: str) -> Provenance:
        """Return what stored cells must come from; `identity` names what they depend on beside the table."""
        digest = hashlib.sha256(" ".join((*identity, self.name)).encode()).hexdigest()
        prints = {name: spec.fingerprint for name, spec in self.task.models.items()}
        return Provenance.of_table(digest, prints, self.table, self.task.folds)


@dataclass(frozen=True)
class TrialRunner:
    """How trials run: `jobs` processes or a Dask cluster, each cell within its limits."""

    jobs: int
    limits: Limits
    dask: str | None = None
    progress: TrialProgress | None = None

    def announce(self, trials: Sequence[tuple[LeakTrial, CellStore]], notes: tuple[str, ...] = ()) -> None:
        """Report how many cells there are, and how many of them are stored."""
        if self.progress:
            stored = sum(store.load(cell) is not None for trial, store in trials for cell in trial.cells)
            self.progress.leaking(sum(len(trial.cells) for trial, _ in trials), stored, notes)

    def run(self, trial: LeakTrial, store: CellStore) -> list[CellFailure]:
        """Run the cells that are not stored, the longest first, and return those that failed.

        Of two runs at once in one folder, the second waits for the first and takes over its cells.
        """
        failures = []
        engine = choose_engine(self.dask, trial.table, trial.task, self.jobs, self.limits)
        progress = self.progress
        with hold_folder(store.folder, lambda: progress.waiting(store.folder) if progress else None):
            store.sweep()
            missing = [cell for cell in trial.cells if store.load(cell) is None]
            missing.sort(key=lambda cell: -trial.task.models[cell.model].cost.seconds)
            with closing(engine(missing)) as outcomes:
                for outcome in outcomes:
                    if isinstance(outcome, CellFailure):
                        failures.append(outcome)
                    else:
                        store.save(outcome)
                    if progress:
                        progress.finished(outcome, None)
        return failures


def resample_all(table: PixelTable, rows: npt.NDArray[np.int64], sampler: str, seed: int) -> PixelTable:
    """Resample rows before any split; the new rows have no lesion ids."""
    resampled = resample(make_sampler(sampler, seed), np.asarray(table.pixels[rows]), table.labels[rows])
    if resampled.sample_indices is not None:
        pixels = np.asarray(table.pixels[rows])[resampled.sample_indices]
    else:
        pixels = np.clip(np.rint(np.asarray(resampled.rows)), 0, 255).astype(np.uint8)
    return PixelTable(pixels, resampled.labels, table.class_names, table.shape)
