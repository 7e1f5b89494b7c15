"""What a run will do, decided before anything is trained, and how long it is expected to take."""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.code_digest import code_digest
from skinmnist.datasets.mapped import give_back
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import FUSED, Cell
from skinmnist.experiment.execution.machine import versions
from skinmnist.experiment.fit_cell import Task
from skinmnist.experiment.fusion import Fusion, choose_columns, informative_columns
from skinmnist.experiment.given_splits import GivenInfo, find_split
from skinmnist.experiment.grid import plan_cells, resolve_models, resolve_samplers
from skinmnist.experiment.run_folder.run_info import ModelInfo, Protocol
from skinmnist.experiment.splits import LEFT_OUT, GivenFolds, Split, assign_folds
from skinmnist.models.cnn.backend import choose_precision
from skinmnist.models.spec import MOST_ROWS, ModelSpec

#: Where predictions are computed: a change there, or in what these import, makes stored cells stale.
_COMPUTING = tuple(f"skinmnist.experiment.{name}" for name in ("fit_cell", "fusion", "grid"))


@dataclass(frozen=True, eq=False)
class Plan:
    """A run before it starts.

    `cells` stand in the order of the tables; `notes` have one sentence for each pair that is not planned.
    `identity` digests the protocol, the code, the library versions and the precision of networks.
    `fusion` adds clinical columns to finished cells, where any were asked for; `cv` says where given folds
    come from.
    """

    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    task: Task
    protocol: Protocol
    repeats: int
    identity: str
    fusion: Fusion | None = None
    cv: str = ""
    given: GivenInfo | None = None

    @property
    def fingerprints(self) -> dict[str, str]:
        """What identifies the user's own models and samplers, and models with clinical columns, by name."""
        models = {name: spec.fingerprint for name, spec in self.task.models.items()}
        samplers = {name: sampler.fingerprint for name, sampler in self.task.samplers.items()}
        fused = {}
        if self.fusion is not None:
            fused = {name + FUSED: own + self.fusion.fingerprint for name, own in models.items()}
        return models | samplers | fused

    @property
    def models(self) -> dict[str, ModelInfo]:
        """What a report needs to know of each model, and of each with clinical columns."""
        described = {}
        for name, spec in self.task.models.items():
            described[name] = ModelInfo(spec.title, spec.features.space)
            if self.fusion is not None:
                columns = tuple(self.fusion.columns)
                title = f"{spec.title} + {', '.join(columns)}"
                described[name + FUSED] = ModelInfo(title, spec.features.space, name, columns)
        return described

    def expected_seconds(self, table: PixelTable) -> dict[Cell, float]:
        """Guess the wall seconds of every cell that is trained."""
        taking_part = table.labels[self.task.folds[0] != LEFT_OUT]
        counts = np.bincount(taking_part, minlength=len(table.class_names))
        return {
            cell: expected_seconds(
                cell, self.task.models[cell.model], counts, table.pixels.shape[1], self.protocol.folds
            )
            for cell in self.cells
            if cell.base is None
        }


def make_plan(
    table: PixelTable,
    samplers: Iterable[str] | Mapping[str, Any],
    models: Iterable[str] | Mapping[str, Any],
    folds: int,
    repeats: int,
    split: str | os.PathLike[str] | GivenFolds | None,
    seed: int,
    rows: npt.NDArray[np.int64] | None,
    clinical: Iterable[str] = (),
) -> Plan:
    """Resolve names, assign folds and cross the grid; the parameters are those of `run_comparison`.

    Given folds take the place of `folds`, `repeats` and `rows`.
    """
    if not 0 <= seed < 2**31:
        raise InputError(f"received seed {seed}; expected a whole number from 0 to {2**31 - 1}")
    found_samplers = resolve_samplers(samplers, table.class_names)
    found_models = resolve_models(models)
    clash = found_samplers.keys() & found_models.keys()
    if clash:
        raise InputError(f"received {sorted(clash)[0]!r} as a sampler and as a model; rename one of them")
    columns = choose_columns(table, clinical)
    found = find_split(table, split, repeats, rows)
    given = found if isinstance(found, GivenFolds) else _drawn_folds(table, folds, repeats, found, seed, rows)
    fold_of = given.fold_of
    columns, silent = informative_columns(columns, fold_of[0] != LEFT_OUT)
    varies = bool(given.origin) and not given.groups
    protocol = Protocol(
        data=table.digest(),
        folds=given.folds,
        split=given.split,
        seed=seed,
        rows=int(np.count_nonzero(fold_of[0] != LEFT_OUT)),
        # Repeat 0 shows which rows take part, but where every repeat has given folds of its own.
        assignment=hashlib.sha256((fold_of if varies else fold_of[0]).tobytes()).hexdigest()[:16],
    )
    give_back(table.pixels)
    cells, notes = plan_cells(
        found_samplers, found_models, len(fold_of), protocol.planned_folds, fused=bool(columns)
    )
    if not cells:
        raise InputError("; ".join(notes) + "; nothing is left to run, so name other samplers or models")
    task = Task(
        folds=fold_of,
        by_lesion=given.split != "image" and table.lesion_ids is not None,
        models=found_models,
        samplers=found_samplers,
        seed=seed,
    )
    identity = json.dumps(
        [asdict(protocol), code_digest(*_COMPUTING), versions(), choose_precision("auto")], sort_keys=True
    )
    return Plan(
        cells=tuple(cells),
        notes=(*given.notes, *silent, *notes),
        task=task,
        protocol=protocol,
        repeats=len(fold_of),
        identity=hashlib.sha256(identity.encode()).hexdigest(),
        fusion=Fusion(columns, table.labels, fold_of, len(table.class_names)) if columns else None,
        cv=given.origin,
        given=GivenInfo.of_folds(given, table) if given.groups else None,
    )


def _drawn_folds(
    table: PixelTable,
    folds: int,
    repeats: int,
    split: Split,
    seed: int,
    rows: npt.NDArray[np.int64] | None,
) -> GivenFolds:
    fold_of = assign_folds(table, folds, repeats, split, seed, rows, keep_copies=True)
    return GivenFolds(fold_of, folds, split, origin="")


def environment() -> dict[str, str]:
    """Return what, beside the protocol, decides a cell's bytes: versions, code, precision of networks."""
    return {**versions(), "code": code_digest(*_COMPUTING), "precision": choose_precision("auto")}


#: The size that `Cost.seconds` was measured at: training rows of a fold, and columns.
_REFERENCE_ROWS, _REFERENCE_COLUMNS = 8012, 2352


def expected_seconds(
    cell: Cell,
    spec: ModelSpec,
    class_counts: npt.NDArray[np.integer],
    columns: int,
    folds: int,
) -> float:
    """Guess a cell's wall seconds from its model's measured cost and the rows that its sampler makes.

    Only ratios between cells matter: what has been measured replaces the guess as a run goes on.
    """
    rows = min(float(class_counts.sum()) * (folds - 1) / folds, MOST_ROWS)
    over = any(part in cell.sampler for part in ("Over", "SMOTE", "ADASYN"))
    if spec.copies_as_weights and cell.sampler == "RandomOverSampler":
        over = False  # Copies travel as weights: there are no more rows than before.
    growth = float(class_counts.max()) * len(class_counts) / float(class_counts.sum()) if over else 1.0
    size = (rows / _REFERENCE_ROWS) * max(columns / _REFERENCE_COLUMNS, 0.15)
    return 0.2 + spec.cost.seconds * size * growth**spec.cost.growth


class Remaining:
    """The expected wall seconds of the cells that are left, corrected by those that are done.

    A pair of sampler and model that has been measured goes by its own mean. The guesses of the others are
    scaled by how far off they were so far: for the same model, or else for all.
    """

    def __init__(
        self, expected: Mapping[Cell, float], jobs: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.expected, self.jobs, self.clock = expected, jobs, clock
        self._measured: dict[Cell, float] = {}
        self._started: dict[Cell, float] = {}

    def running(self, cells: Iterable[Cell]) -> None:
        """Take note of all cells that run now."""
        now = self.clock()
        self._started = {cell: self._started.get(cell, now) for cell in cells}

    def finished(self, cell: Cell, seconds: float) -> None:
        """Take note of a finished cell."""
        self._started.pop(cell, None)
        self._measured[cell] = seconds

    def seconds(self, left: Iterable[Cell]) -> float | None:
        """Return the expected wall seconds, or None before anything was measured.

        What runs goes on; each of the others, in their order, goes to the worker that is free first.
        """
        if not self._measured:
            return None
        now, free, each = self.clock(), [0.0] * self.jobs, dict[tuple[str, str], float]()
        for cell in sorted(left, key=lambda cell: cell not in self._started):
            if cell[:2] not in each:
                each[cell[:2]] = self._seconds_of(cell)
            passed = now - self._started.get(cell, now)
            heapq.heapreplace(free, free[0] + max(0.0, each[cell[:2]] - passed))
        return max(free)

    def _seconds_of(self, cell: Cell) -> float:
        pair = [seconds for done, seconds in self._measured.items() if done[:2] == cell[:2]]
        if pair:
            return sum(pair) / len(pair)
        alike = [done for done in self._measured if done.model == cell.model] or list(self._measured)
        off = sum(map(self._measured.__getitem__, alike)) / sum(map(self.expected.__getitem__, alike))
        return off * self.expected[cell]
