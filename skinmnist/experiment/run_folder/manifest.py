"""What a run writes of itself into ``run.json``, from its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import skinmnist
from skinmnist import facts
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure
from skinmnist.experiment.execution.machine import hardware, versions
from skinmnist.experiment.grid import in_order
from skinmnist.experiment.plan import Plan
from skinmnist.experiment.run_folder.provenance import Provenance
from skinmnist.experiment.run_folder.run_info import (
    Arguments,
    CellEntry,
    Grid,
    Hardware,
    InputFile,
    ModelInfo,
    Protocol,
    RunInfo,
    TableInfo,
    sort_entries,
)
from skinmnist.experiment.run_folder.store import CellStore
from skinmnist.models.registry import MODELS
from skinmnist.resampling.registry import SAMPLERS, STRATEGIES


@dataclass(frozen=True)
class Request:
    """How a run was asked for, beside what the plan holds.

    Attributes
    ----------
    command : str
        What to type to run the same again.
    quick : bool
        Whether the run is a quick look and no result.
    """

    command: str = "run_comparison(...)"
    quick: bool = False


def check_same_protocol(info: RunInfo | None, plan: Plan, folder: Path) -> None:
    """Refuse to mix runs that cannot stand in one table.

    Raises
    ------
    InputError
        Where the folder holds a run of other data, rows, folds, split or seed.
    """
    if info is None:
        return
    kept = asdict(info.protocol)
    for key, wanted in plan.protocol.items():
        if kept[key] != wanted:
            what = {"data": "other data", "assignment": "other rows"}.get(
                key, f"{key} {kept[key]} instead of {wanted}"
            )
            raise InputError(
                f"{folder} holds a run with {what}; "
                "name another folder with --out, or start over with --fresh"
            )


def describe_run(
    plan: Plan, table: PixelTable, request: Request, jobs: int, provenance: Provenance
) -> RunInfo:
    """Describe a run before its first cell; `RunInfo.merged_with` adds what its folder holds."""
    samplers, models = plan.task.samplers, plan.models
    return RunInfo(
        skinmnist=skinmnist.__version__,
        command=request.command,
        arguments=Arguments(
            samplers=tuple(samplers),
            models=tuple(plan.task.models),
            clinical=tuple(plan.fusion.columns) if plan.fusion else (),
            **{name: plan.protocol[name] for name in ("folds", "split", "seed", "rows")},
            repeats=plan.repeats,
            jobs=jobs,
        ),
        seed=plan.protocol["seed"],
        quick=request.quick,
        jobs=jobs,
        protocol=Protocol(**plan.protocol),
        repeats=plan.repeats,
        identity=plan.identity,
        fingerprints=plan.fingerprints,
        held_out=provenance.held_out,
        table=_describe_table(table),
        grid=Grid(
            samplers=tuple(in_order(samplers, [*STRATEGIES, *SAMPLERS])),
            models={name: ModelInfo(**models[name]) for name in in_order(models, MODELS)},
        ),
        notes=plan.notes,
        versions=versions(),
        hardware=Hardware(**hardware()),
    )


def list_cells(
    plan: Plan, store: CellStore, done: set[Cell], failures: Mapping[Cell, CellFailure]
) -> tuple[CellEntry, ...]:
    """List the cells of a plan with what became of them, in the order of the tables."""
    entries = {}
    for cell in plan.cells:
        entry = CellEntry(*cell, status="pending")
        if cell in done:
            entry = CellEntry(*cell, status="done", file=store.path(cell).name)
        elif cell in failures:
            entry = CellEntry(*cell, status="failed", reason=failures[cell].reason)
        entries[cell] = entry
    return tuple(sort_entries(entries))


def _describe_table(table: PixelTable) -> TableInfo:
    lesions = table.lesion_counts
    return TableInfo(
        name=table.name,
        origin=table.origin,
        synthetic=table.synthetic,
        rows=len(table),
        shape=table.shape,
        class_names=tuple(table.class_names),
        class_titles={name: facts.CLASS_TITLES.get(name, name) for name in table.class_names},
        rows_per_class=tuple(table.class_counts.tolist()),
        lesions_per_class=None if lesions is None else tuple(lesions.tolist()),
        lesions=table.n_lesions,
        clinical=tuple(table.clinical or ()),
        inputs=tuple(InputFile(name, digest) for name, digest in table.inputs),
    )
