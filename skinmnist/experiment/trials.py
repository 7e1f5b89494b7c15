"""Trials: cells evaluated beside a run, on a table, folds or models that are not the run's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import Task
from skinmnist.experiment.run_folder.store import Provenance
from skinmnist.resampling.registry import make_sampler, resample


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


def resample_all(table: PixelTable, rows: npt.NDArray[np.int64], sampler: str, seed: int) -> PixelTable:
    """Resample rows before any split; the new rows have no lesion ids."""
    resampled = resample(make_sampler(sampler, seed), np.asarray(table.pixels[rows]), table.labels[rows])
    if resampled.sample_indices is not None:
        pixels = np.asarray(table.pixels[rows])[resampled.sample_indices]
    else:
        pixels = np.clip(np.rint(np.asarray(resampled.rows)), 0, 255).astype(np.uint8)
    return PixelTable(pixels, resampled.labels, table.class_names, table.shape)
