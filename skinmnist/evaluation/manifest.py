"""The content of ``run.json``: what was run, on what, with what, and what became of each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import skinmnist
from skinmnist import facts
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.evaluation.cells import FUSED, Cell, CellFailure
from skinmnist.evaluation.grid import in_order
from skinmnist.evaluation.machine import hardware, versions
from skinmnist.evaluation.plan import Plan
from skinmnist.evaluation.store import CellStore
from skinmnist.models import MODELS
from skinmnist.resampling.samplers import REMEDIES, SAMPLERS


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


def check_same_protocol(info: Mapping[str, Any] | None, plan: Plan, folder: Path) -> None:
    """Refuse to mix runs that cannot stand in one table.

    Raises
    ------
    InputError
        Where the folder holds a run of other data, rows, folds, split or seed.
    """
    if info is None:
        return
    for key, wanted in plan.protocol.items():
        kept = info["protocol"].get(key)
        if kept != wanted:
            what = {"data": "other data", "assignment": "other rows"}.get(
                key, f"{key} {kept} instead of {wanted}"
            )
            raise InputError(
                f"{folder} holds a run with {what}; "
                "name another folder with --out, or start over with --fresh"
            )


def describe_run(
    plan: Plan,
    table: PixelTable,
    request: Request,
    jobs: int,
    earlier: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Describe a run; what an earlier run in the same folder asked for stays in the grid."""
    same = earlier is not None and earlier.get("identity") == plan.identity
    grid = earlier["grid"] if earlier is not None and same else {"samplers": [], "models": {}}
    changed = _changed(plan, earlier)
    models = {name: entry for name, entry in grid["models"].items() if name not in changed} | plan.models
    notes = list(earlier["notes"]) if earlier is not None and same else []
    notes += [f"{name} is not what it was: its earlier cells were left out" for name in sorted(changed)]
    if earlier is not None and not same:
        notes.append("cells that other versions of the code or its libraries had stored were left out")
    return {
        "skinmnist": skinmnist.__version__,
        "command": request.command,
        "arguments": {
            "samplers": list(plan.task.samplers),
            "models": list(plan.task.models),
            "clinical": list(plan.fusion.columns) if plan.fusion else [],
            **{name: plan.protocol[name] for name in ("folds", "split", "seed", "rows")},
            "repeats": plan.repeats,
            "jobs": jobs,
        },
        "seed": plan.protocol["seed"],
        "quick": request.quick,
        "jobs": jobs,
        "protocol": plan.protocol,
        "repeats": max(plan.repeats, earlier["repeats"] if earlier is not None and same else 1),
        "identity": plan.identity,
        "fingerprints": (earlier["fingerprints"] if earlier is not None and same else {}) | plan.fingerprints,
        "table": _describe_table(table),
        "grid": {
            "samplers": in_order({*grid["samplers"], *plan.task.samplers}, [*REMEDIES, *SAMPLERS]),
            "models": {name: models[name] for name in in_order(models, MODELS)},
        },
        "notes": list(dict.fromkeys([*notes, *plan.notes])),
        "versions": versions(),
        "hardware": hardware(),
    }


def list_cells(
    plan: Plan,
    store: CellStore,
    done: set[Cell],
    failures: Mapping[Cell, CellFailure],
    earlier: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """List every cell of the folder with what became of it, in the order of the tables."""
    entries: dict[Cell, dict[str, Any]] = {}
    if earlier is not None and earlier.get("identity") == plan.identity:
        changed = _changed(plan, earlier)
        for entry in earlier["cells"]:
            if not changed & {entry["sampler"], entry["model"]}:
                entries[Cell(*(entry[name] for name in Cell._fields))] = dict(entry)
    for cell in plan.cells:
        entry = {**cell._asdict(), "status": "pending"}
        if cell in done:
            entry |= {"status": "done", "file": store.path(cell).name}
        elif cell in failures:
            entry |= {"status": "failed", "reason": failures[cell].reason}
        entries[cell] = entry
    samplers = in_order({cell.sampler for cell in entries}, [*REMEDIES, *SAMPLERS])
    models = in_order({cell.model for cell in entries}, MODELS)
    ordered = sorted(
        entries, key=lambda c: (samplers.index(c.sampler), models.index(c.model), c.repeat, c.fold)
    )
    return [entries[cell] for cell in ordered]


def add_session(
    info: dict[str, Any],
    earlier: Mapping[str, Any] | None,
    wall_seconds: float,
    peak_mb: float,
    new_cells: int,
) -> None:
    """Add the price of this run to that of the runs whose cells the folder still holds.

    A run that finds everything stored costs nothing worth telling.
    """
    kept = earlier is not None and earlier.get("identity") == info["identity"]
    sessions = list(earlier["sessions"]) if earlier is not None and kept else []
    if new_cells or not sessions:
        price = {"wall_seconds": round(wall_seconds, 2), "peak_memory_mb": round(peak_mb, 1)}
        sessions.append({"command": info["command"], "new_cells": new_cells, **price})
    info["sessions"] = sessions
    info["wall_seconds"] = round(sum(session["wall_seconds"] for session in sessions), 2)
    info["peak_memory_mb"] = max(session["peak_memory_mb"] for session in sessions)


def _changed(plan: Plan, earlier: Mapping[str, Any] | None) -> set[str]:
    """Return the names that stood for another model or sampler in an earlier run.

    What was made of another model's answers is not what it was either.
    """
    before = earlier.get("fingerprints", {}) if earlier is not None else {}
    changed = {name for name, print_ in plan.fingerprints.items() if before.get(name, print_) != print_}
    return changed | {name + FUSED for name in changed if name + FUSED in before}


def _describe_table(table: PixelTable) -> dict[str, Any]:
    lesions = table.lesion_counts
    return {
        "name": table.name,
        "origin": table.origin,
        "synthetic": table.synthetic,
        "rows": len(table),
        "shape": list(table.shape),
        "class_names": list(table.class_names),
        "class_titles": {name: facts.CLASS_TITLES.get(name, name) for name in table.class_names},
        "rows_per_class": table.class_counts.tolist(),
        "lesions_per_class": None if lesions is None else lesions.tolist(),
        "lesions": table.n_lesions,
        "clinical": list(table.clinical or ()),
        "inputs": [{"file": name, "sha256": digest} for name, digest in table.inputs],
    }
