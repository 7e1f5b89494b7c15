"""Demonstrating leaks: leaky twins beside honest ones, kept apart from every honest score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.analysis.significance import COMPARED_METRICS
from skinmnist.code_digest import code_digest
from skinmnist.datasets.files import claim, remove_owned
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellResult
from skinmnist.experiment.execution.limits import NO_LIMITS, Limits
from skinmnist.experiment.execution.locks import RUN_FOLDER, scratch_folder
from skinmnist.experiment.execution.machine import available_cores
from skinmnist.experiment.metrics import score
from skinmnist.experiment.plan import Plan, make_plan
from skinmnist.experiment.run_folder.file_names import LEAK_FILES, RUN, is_unmarked_run
from skinmnist.experiment.run_folder.provenance import Provenance
from skinmnist.experiment.run_folder.record import CELLS_FOLDER
from skinmnist.experiment.run_folder.store import CellStore
from skinmnist.experiment.trials import LeakTrial, TrialProgress, TrialRunner
from skinmnist.leakage.leak_record import (
    LEAK_COLUMNS,
    LEAKS_FOLDER,
    Demonstration,
    write_leaks,
)
from skinmnist.leakage.leaks import LEAKS
from skinmnist.leakage.trials import HONEST, SAMPLERS_BEFORE, LeakScenario
from skinmnist.models.registry import DEFAULT_MODELS, MODELS

#: Shown beside the models of a run: what the public readers of these tables train.
PLAIN_MODEL = "random_forest_pixels"


def choose_leaky_models(models: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return those of a run's models that a demonstration shows by default, and a note on the others.

    Networks take too long to be trained wrongly for show; the class frequencies alone have nothing to leak.
    """
    asked = list(models)
    dear = [name for name in asked if name in MODELS and (MODELS[name].cost.library or name == "dummy")]
    kept = list(dict.fromkeys([*(name for name in asked if name not in dear), PLAIN_MODEL]))
    notes = [f"left out: {', '.join(dear)}; name models with --leak-models to have them"] if dear else []
    return kept, notes


def demonstrate_leaks(
    table: PixelTable,
    models: Iterable[str] | Mapping[str, Any] | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
    jobs: int | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    rows: npt.NDArray[np.int64] | None = None,
    limits: Limits = NO_LIMITS,
    dask: str | None = None,
    notes: Iterable[str] = (),
    progress: TrialProgress | None = None,
) -> Demonstration:
    """Score models as leaky evaluations do, beside the honest twin of each.

    Parameters
    ----------
    table : PixelTable
        Honest twins keep its lesions together wherever they are known.
    models : iterable of str, or mapping of str to classifier, optional
        As of `run_comparison`; a network only where it is named. By default the default models of a
        comparison that are cheap, and `PLAIN_MODEL`.
    folds, seed, jobs, rows, limits, dask
        As of `run_comparison`. A leak is shown on the first of the folds only (see `leak_trials`).
    out : path, optional
        A run folder: honest cells that it holds are used, those of the demonstration stand in its
        ``leaks/`` and are found again, and the scores in its ``leaks.csv``. None: nothing is kept on disk.
    fresh : bool
        Forget what is stored in ``leaks/``.
    notes : iterable of str
        Sentences on what was left out before.
    progress : TrialProgress, optional

    Returns
    -------
    Demonstration

    Raises
    ------
    InputError
        For arguments that make no comparison.
    KeyboardInterrupt
        After what is finished has been stored.
    """
    said = list(notes)
    if models is None:
        models, left_out = choose_leaky_models(DEFAULT_MODELS)
        said += left_out
    if jobs is not None and jobs < 1:
        raise InputError(f"received {jobs} jobs; expected at least 1")
    plan = make_plan(table, ("none", *SAMPLERS_BEFORE), models, folds, 1, None, seed, rows)
    scenario = LeakScenario(table, plan)
    if table.lesion_ids is None:
        said.append("pictures of one lesion in both folds cannot be shown: the table has no lesion ids")
    with ExitStack() as held:
        folder = Path(out) if out is not None else held.enter_context(scratch_folder()) / RUN_FOLDER
        claim(folder, RUN, is_unmarked_run)
        if fresh:
            remove_owned(folder, LEAK_FILES)
        trials = _merged([trial for leak in LEAKS for trial in leak.trials(scenario)])
        stores = {trial.name: _Store(folder, plan, trial) for trial in trials}
        runner = TrialRunner(jobs or available_cores(), limits, dask, progress)
        runner.announce([(trial, stores[trial.name]) for trial in trials], tuple(said))
        for trial in trials:
            for failure in runner.run(trial, stores[trial.name]):
                said.append(f"{failure.cell} ({trial.name}) failed: {failure.reason}")
        titles = {name: spec.title for name, spec in scenario.models.items()}
        shown = Demonstration(_compare(scenario, trials, stores), tuple(said), titles)
        write_leaks(folder, plan.protocol, shown)
    return shown


class _Store(CellStore):
    """The cells of a trial; honest ones are also looked for among those of the run."""

    def __init__(self, folder: Path, plan: Plan, trial: LeakTrial) -> None:
        code = code_digest("skinmnist.leakage.trials")
        super().__init__(folder / LEAKS_FOLDER / trial.name, trial.provenance(plan.identity, code))
        of_run = Provenance.of_table(plan.identity, plan.fingerprints, trial.table, trial.task.folds)
        self.of_run = CellStore(folder / CELLS_FOLDER, of_run) if trial.name == HONEST else None

    def load(self, cell: Cell) -> CellResult | None:
        """Return a stored result, or None."""
        found = super().load(cell)
        return found if found is not None or self.of_run is None else self.of_run.load(cell)


def _merged(trials: list[LeakTrial]) -> list[LeakTrial]:
    """Put trials of one name together: leaks share their honest twins."""
    found: dict[str, LeakTrial] = {}
    for trial in trials:
        before = found.get(trial.name)
        cells = trial.cells if before is None else (*before.cells, *trial.cells)
        found[trial.name] = replace(trial, cells=tuple(dict.fromkeys(cells)))
    return list(found.values())


def _compare(scenario: LeakScenario, trials: list[LeakTrial], stores: Mapping[str, _Store]) -> pd.DataFrame:
    scores = {}
    for trial in trials:
        for cell in trial.cells:
            found = stores[trial.name].load(cell)
            if found is not None:
                scores[trial.name, cell] = score(
                    found.labels, found.predicted, found.probabilities, scenario.table.class_names
                )
    records = [
        (leak.words.key, pair.sampler, pair.model, metric, pair.leaky[metric], pair.honest[metric])
        for leak in LEAKS
        for pair in leak.paired_scores(scenario, scores)
        for metric in COMPARED_METRICS
        if metric in pair.leaky and metric in pair.honest
    ]
    return pd.DataFrame.from_records(records, columns=list(LEAK_COLUMNS))
