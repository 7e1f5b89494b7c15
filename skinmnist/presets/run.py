"""Run a preset twice: with the honest protocol, and as published, which is kept out of every table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from skinmnist.datasets.cache import code_digest
from skinmnist.datasets.decoding import encode_arrays
from skinmnist.datasets.files import write_atomically
from skinmnist.datasets.table import PixelTable, sample_rows
from skinmnist.experiment.cells import CellFailure
from skinmnist.experiment.comparison import run_comparison
from skinmnist.experiment.execution.machine import NO_LIMITS, Limits, available_cores
from skinmnist.experiment.execution.runner import Progress as RunProgress
from skinmnist.experiment.execution.runner import TrialProgress, TrialRunner, trial_provenance
from skinmnist.experiment.plan import Plan, make_plan
from skinmnist.experiment.run_folder.record import RunRecord, csv_bytes
from skinmnist.experiment.run_folder.run_info import Request
from skinmnist.experiment.run_folder.store import CellStore
from skinmnist.presets.claims import (
    ABOUT_FILE,
    AUGMENTED_FILE,
    CLAIMS_FILE,
    PUBLISHED_FOLDER,
    common,
    compare_claims,
)
from skinmnist.presets.presets import Preset, published_trial

#: Numbers of pictures, and of augmented versions per picture, for the report.
SHOWN, VERSIONS = 7, 6


class Progress(RunProgress, TrialProgress, Protocol):
    """Receive the events of the honest run and of the run as published."""


@dataclass(frozen=True, eq=False)
class PresetRun:
    """The honest run, a table of `CLAIM_COLUMNS`, and the failed cells of the run as published."""

    record: RunRecord
    claims: pd.DataFrame
    failures: tuple[CellFailure, ...]


def run_preset(
    preset: Preset,
    table: PixelTable,
    *,
    out: str | Path,
    seed: int = 0,
    jobs: int | None = None,
    fresh: bool = False,
    limits: Limits = NO_LIMITS,
    dask: str | None = None,
    progress: Progress | None = None,
    request: Request | None = None,
) -> PresetRun:
    """Run a preset with the honest protocol and as published, and compare both with the claims of its page.

    The as-published cells are also written to the run folder `out`, in ``published/``, with the comparison in
    ``claims.csv``. The other arguments and the exceptions are those of `run_comparison`.
    """
    head = preset.head
    rows = sample_rows(table, head.rows, seed, head.folds) if head.rows is not None else None
    split = "holdout" if head.holdout else None
    models = preset.models()
    plan = make_plan(table, preset.samplers, models, head.folds, 1, split, seed, rows)
    record = run_comparison(
        table,
        preset.samplers,
        models,
        folds=head.folds,
        split=split,
        seed=seed,
        jobs=jobs,
        out=out,
        fresh=fresh,
        rows=rows,
        limits=limits,
        dask=dask,
        progress=progress,
        request=request,
    )
    trial = published_trial(preset, table, plan)
    as_published = json.dumps(asdict(preset.published), sort_keys=True)
    folder = Path(out) / PUBLISHED_FOLDER
    code = code_digest("skinmnist.presets.presets")
    provenance = trial_provenance(trial, plan.identity, as_published, code)
    store = CellStore(folder, provenance)
    runner = TrialRunner(jobs or available_cores(), limits, dask, progress)
    runner.announce([(trial, store)])
    failures = runner.run(trial, store)
    published = [result for cell in trial.cells if (result := store.load(cell)) is not None]
    names = [network.name for network in preset.networks]
    claims = compare_claims(names, head.sampler, preset.claims, published, record.results)
    about = _about(preset, table) | {"protocol": common(asdict(plan.protocol))}
    write_atomically(folder / ABOUT_FILE, (json.dumps(about, indent=1) + "\n").encode())
    if preset.augmentation is not None:
        write_atomically(folder / AUGMENTED_FILE, _augmented(preset, table, plan))
    write_atomically(Path(out) / CLAIMS_FILE, csv_bytes(claims))
    return PresetRun(record, claims, tuple(failures))


def _about(preset: Preset, table: PixelTable) -> dict[str, Any]:
    head, published = preset.head, preset.published
    if table.lesion_ids is None:  # In this case, the honest run also splits picture by picture.
        published = replace(published, by_image=False)
    return {name: getattr(head, name) for name in ("title", "page", "about", "claim", "less", "choices")} | {
        "other_data": other_data(preset, table),
        "differences": published.differences,
        "networks": {network.name: network.title for network in preset.networks},
    }


def other_data(preset: Preset, table: PixelTable) -> list[str]:
    """Describe how a table differs from the data of the page; other data cannot test the claims."""
    head, n_classes = preset.head, len(table.class_names)
    height, width, _ = table.shape
    differs = {
        f"{n_classes} classes instead of the page's {head.classes}": n_classes != head.classes,
        f"pictures of {height}x{width} instead of the page's {head.size}": head.size
        and head.size != f"{height}x{width}",
        "synthetic pictures instead of real ones": table.synthetic,
    }
    return [words for words, holds in differs.items() if holds]


def _augmented(preset: Preset, table: PixelTable, plan: Plan) -> bytes:
    """Augment one picture of each class at random, as in training."""
    from skinmnist.models.cnn.stacked import show_augmented

    rows = np.flatnonzero(plan.task.folds[0] >= 0)
    first = rows[np.unique(table.labels[rows], return_index=True)[1]][:SHOWN]
    pictures = np.asarray(table.pixels[first]).reshape(len(first), *table.shape)
    assert preset.augmentation is not None
    changed = show_augmented(pictures, preset.augmentation, VERSIONS, plan.task.seed)
    return encode_arrays({"pictures": np.concatenate([pictures[:, None], changed], axis=1)})
