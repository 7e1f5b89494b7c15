"""Leaky evaluations on purpose, each beside its honest counterpart, apart from every honest score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
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
from skinmnist.experiment.run_folder.record import CELLS_FOLDER
from skinmnist.experiment.run_folder.store import CellStore, Provenance
from skinmnist.experiment.trial_runner import TrialProgress, TrialRunner
from skinmnist.experiment.trials import LeakTrial
from skinmnist.leakage.leaks import LEAK_COLUMNS, LEAKS, LEAKS_FOLDER, Demonstration, write_leaks
from skinmnist.leakage.trials import HONEST, SAMPLERS_BEFORE, LeakScenario
from skinmnist.models.registry import DEFAULT_MODELS, MODELS

#: Shown beside the models of a run: what the public readers of these tables train.
PLAIN_MODEL = "random_forest_pixels"


def choose_leaky_models(models: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return which of a run's models a demonstration shows by default, and a note on the others.

    Networks take too long to train only to show a leak; class frequencies alone have nothing to leak.
    """
    asked = list(models)
    left_out = [name for name in asked if name in MODELS and (MODELS[name].cost.library or name == "dummy")]
    chosen = list(dict.fromkeys([*(name for name in asked if name not in left_out), PLAIN_MODEL]))
    return chosen, [f"left out: {', '.join(left_out)}; add them with --leak-models"] if left_out else []


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
    """Score models as leaky evaluations do, each beside its honest counterpart.

    Parameters
    ----------
    table : PixelTable
        The honest evaluation keeps its lesions together wherever they are known.
    models : iterable of str, or mapping of str to classifier, optional
        As of `run_comparison`; a network only where it is named. By default the default models of a
        comparison that are cheap, and `PLAIN_MODEL`.
    folds, seed, jobs, rows, limits, dask
        As of `run_comparison`. A leak is shown on the first folds only.
    out : path, optional
        A run folder: its honest cells are used, the cells of the demonstration are stored in its ``leaks/``
        and found again, and the scores go into its ``leaks.csv``. None: nothing stays on disk.
    fresh : bool
        Remove what is stored in ``leaks/`` first.
    notes : iterable of str
        Sentences on what was left out, to be stored with the scores.
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
    notes = list(notes)
    if models is None:
        models, left_out = choose_leaky_models(DEFAULT_MODELS)
        notes += left_out
    if jobs is not None and jobs < 1:
        raise InputError(f"received {jobs} jobs; expected at least 1")
    plan = make_plan(table, ("none", *SAMPLERS_BEFORE), models, folds, 1, None, seed, rows)
    scenario = LeakScenario(table, plan)
    if table.lesion_ids is None:
        notes.append("pictures of one lesion in both folds cannot be shown: the table has no lesion ids")
    with ExitStack() as held:
        folder = Path(out) if out is not None else held.enter_context(scratch_folder()) / RUN_FOLDER
        claim(folder, RUN, is_unmarked_run)
        if fresh:
            remove_owned(folder, LEAK_FILES)
        trials = _merged([trial for leak in LEAKS for trial in leak.trials(scenario)])
        stored = [(trial, _Store(folder, plan, trial)) for trial in trials]
        runner = TrialRunner(jobs or available_cores(), limits, dask, progress)
        runner.announce(stored, tuple(notes))
        for trial, store in stored:
            for failure in runner.run(trial, store):
                notes.append(f"{failure.cell} ({trial.name}) failed: {failure.reason}")
        titles = {name: spec.title for name, spec in scenario.models.items()}
        shown = Demonstration(_compare(scenario, stored), tuple(notes), titles)
        write_leaks(folder, asdict(plan.protocol), shown)
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
        result = super().load(cell)
        return result if result is not None or self.of_run is None else self.of_run.load(cell)


def _merged(trials: list[LeakTrial]) -> list[LeakTrial]:
    """Put trials of one name together: leaks share their honest cells."""
    by_name: dict[str, LeakTrial] = {}
    for trial in trials:
        earlier = by_name[trial.name].cells if trial.name in by_name else ()
        by_name[trial.name] = replace(trial, cells=tuple(dict.fromkeys((*earlier, *trial.cells))))
    return list(by_name.values())


def _compare(scenario: LeakScenario, stored: Sequence[tuple[LeakTrial, CellStore]]) -> pd.DataFrame:
    names = scenario.table.class_names
    scores = {
        (trial.name, cell): score(result.labels, result.predicted, result.probabilities, names)
        for trial, store in stored
        for cell in trial.cells
        if (result := store.load(cell)) is not None
    }
    records = [
        (leak.key, pair.sampler, pair.model, metric, pair.leaky[metric], pair.honest[metric])
        for leak in LEAKS
        for pair in leak.paired_scores(scenario, scores)
        for metric in COMPARED_METRICS
        if metric in pair.leaky and metric in pair.honest
    ]
    return pd.DataFrame.from_records(records, columns=list(LEAK_COLUMNS))
