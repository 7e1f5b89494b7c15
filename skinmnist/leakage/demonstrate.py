"""Run deliberately leaky evaluations and compare each with its honest counterpart.

Their scores are kept separate from all honest scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.analysis.significance import COMPARED_METRICS
from skinmnist.datasets.cache import code_digest
from skinmnist.datasets.files import claim, remove_owned
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellResult
from skinmnist.experiment.execution.machine import NO_LIMITS, Limits, available_cores
from skinmnist.experiment.execution.runner import TrialProgress, TrialRunner, trial_provenance
from skinmnist.experiment.fit_cell import Trial
from skinmnist.experiment.metrics import mean_scores, score
from skinmnist.experiment.plan import Plan, make_plan
from skinmnist.experiment.run_folder.folder import (
    LEAK_FILES,
    RUN,
    RUN_FOLDER,
    is_unmarked_run,
    scratch_folder,
)
from skinmnist.experiment.run_folder.record import CELLS_FOLDER
from skinmnist.experiment.run_folder.store import CellStore, Provenance
from skinmnist.experiment.splits import choose_split
from skinmnist.leakage.leaks import LEAK_COLUMNS, LEAKS, LEAKS_FOLDER, Demonstration, write_leaks
from skinmnist.leakage.scenario import (
    BY_IMAGE,
    HONEST,
    IMAGE_FOLDS,
    INNER,
    RESAMPLED_FOLDS,
    SAMPLERS_BEFORE,
    SEEN,
    LeakScenario,
    by_image,
    candidates,
    honest,
    inner_fold,
    resampled_first,
    tuned,
)
from skinmnist.models.registry import DEFAULT_MODELS, MODELS

#: A plain model without lesion features, shown in addition to the models of a run.
PLAIN_MODEL = "random_forest_pixels"
#: The score by which settings are chosen.
CHOSEN_BY = COMPARED_METRICS[0]

_mean = partial(mean_scores, names=COMPARED_METRICS)

#: Scores by metric for every trial and cell.
Scores = Mapping[tuple[str, Cell], Mapping[str, float]]


class PairedScores(NamedTuple):
    """A leaky score and the honest score it is compared with, each by metric."""

    sampler: str
    model: str
    leaky: Mapping[str, float]
    honest: Mapping[str, float]


def choose_leaky_models(models: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the models of a run that a demonstration uses by default, with a note on the others.

    Networks are excluded because they take too long to train, and class frequencies because they cannot leak.
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
    """Score models with leaky evaluations and compare each with its honest counterpart.

    Parameters
    ----------
    table : PixelTable
        The table to evaluate on. The honest evaluation keeps lesions together if they are known;
        sets stored in the table are ignored.
    models : iterable of str, or mapping of str to classifier, optional
        As in `run_comparison`. By default, the fast default models of a comparison and `PLAIN_MODEL`;
        networks must be requested by name.
    folds, seed, jobs, rows, limits, dask
        As in `run_comparison`. Each leak is demonstrated only on the first folds.
    out : path, optional
        A run folder. Its honest cells are reused, the cells of the demonstration are stored in its ``leaks/``
        subfolder for later reuse, and the scores are written to its ``leaks.csv``. If None, nothing is kept
        on disk.
    fresh : bool
        Whether to remove the cells in ``leaks/`` first.
    notes : iterable of str
        Sentences on anything omitted, stored with the scores.
    progress : TrialProgress, optional
        Receives the events of the run.

    Returns
    -------
    Demonstration

    Raises
    ------
    InputError
        For invalid arguments.
    KeyboardInterrupt
        On Ctrl-C, after the finished cells have been stored.

    See Also
    --------
    run_comparison : Score models with an honest evaluation.
    Demonstration : The result.

    References
    ----------
    Kapoor & Narayanan, "Leakage and the reproducibility crisis in machine-learning-based science",
    Patterns 4(9), 2023.

    Examples
    --------
    >>> from skinmnist import demonstrate_leaks, make_lesions
    >>> shown = demonstrate_leaks(make_lesions(80, size=8), ["dummy"], folds=3, jobs=1)
    >>> shown.scores["leak"].unique().tolist()
    ['resampling_before_the_split', 'lesions_in_both_folds', 'tuning_on_the_test_fold']
    """
    notes = list(notes)
    if models is None:
        models, left_out = choose_leaky_models(DEFAULT_MODELS)
        notes += left_out
    if jobs is not None and jobs < 1:
        raise InputError(f"received {jobs} jobs; expected at least 1")
    # Sets stored in the table have one held-out part, but some leaks need every fold of a cross-validation.
    split = choose_split(table, None)
    plan = make_plan(table, ("none", *SAMPLERS_BEFORE), models, folds, 1, split, seed, rows)
    scenario = LeakScenario(table, plan)
    if table.lesion_ids is None:
        notes.append("pictures of one lesion in both folds are not shown: the table has no lesion ids")
    with ExitStack() as held:
        folder = Path(out) if out is not None else held.enter_context(scratch_folder()) / RUN_FOLDER
        claim(folder, RUN, is_unmarked_run)
        if fresh:
            remove_owned(folder, LEAK_FILES)
        stored = [(trial, _Store(folder, plan, trial)) for trial in _trials(scenario)]
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
    """The cells of a trial; honest cells are also looked up among those of the run."""

    def __init__(self, folder: Path, plan: Plan, trial: Trial) -> None:
        code = code_digest("skinmnist.leakage.scenario")
        super().__init__(folder / LEAKS_FOLDER / trial.name, trial_provenance(trial, plan.identity, code))
        of_run = Provenance.of_table(plan.identity, plan.fingerprints, trial.table, trial.task.folds)
        self.of_run = CellStore(folder / CELLS_FOLDER, of_run) if trial.name == HONEST else None

    def load(self, cell: Cell) -> CellResult | None:
        result = super().load(cell)
        return result if result is not None or self.of_run is None else self.of_run.load(cell)


def _trials(scenario: LeakScenario) -> list[Trial]:
    """Return the cells of every leak that can be demonstrated, and the honest cells for comparison."""
    fair = honest(scenario, SAMPLERS_BEFORE, RESAMPLED_FOLDS)
    leaky = [resampled_first(scenario, sampler) for sampler in SAMPLERS_BEFORE]
    if scenario.table.lesion_ids is not None:
        fair = replace(fair, cells=(*fair.cells, *scenario.cells("none", IMAGE_FOLDS)))
        leaky.append(by_image(scenario))
    return [fair, *leaky, *tuned(scenario)]


def _compare(scenario: LeakScenario, stored: Sequence[tuple[Trial, CellStore]]) -> pd.DataFrame:
    names = scenario.table.class_names
    scores = {
        (trial.name, cell): score(result.labels, result.predicted, result.probabilities, names)
        for trial, store in stored
        for cell in trial.cells
        if (result := store.load(cell)) is not None
    }
    before = [
        pair
        for sampler in SAMPLERS_BEFORE
        for pair in _means(scenario, scores, f"{sampler}_before_the_split", sampler, RESAMPLED_FOLDS)
    ]
    # In the order of the leaks. A pair with a missing cell is omitted.
    by_image_pairs = _means(scenario, scores, BY_IMAGE, "none", IMAGE_FOLDS)
    pairs = (before, by_image_pairs, _tuning_pairs(scenario, scores))
    records = [
        (leak.key, pair.sampler, pair.model, metric, pair.leaky[metric], pair.honest[metric])
        for leak, of_leak in zip(LEAKS, pairs, strict=True)
        for pair in of_leak
        for metric in COMPARED_METRICS
        if metric in pair.leaky and metric in pair.honest
    ]
    return pd.DataFrame.from_records(records, columns=list(LEAK_COLUMNS))


def _tuning_pairs(scenario: LeakScenario, scores: Scores) -> list[PairedScores]:
    """Choose settings on the reported fold and on an inner fold, and report both choices on the same fold."""
    pairs = []
    outer = sorted({cell.fold for trial, cell in scores if trial == SEEN})
    for model, settings in candidates(scenario).items():
        leaky, chosen = [], []
        for fold in outer:
            inner = inner_fold(fold, scenario.n_folds)
            seen = [scores.get((SEEN, Cell("none", name, 0, fold))) for name in settings]
            inside = [scores.get((INNER, Cell("none", name, fold, inner))) for name in settings]
            reported = [of_cell for of_cell in seen if of_cell is not None]
            tried = [of_cell for of_cell in inside if of_cell is not None]
            if len(reported) == len(tried) == len(settings):
                leaky.append(max(reported, key=lambda of_cell: of_cell[CHOSEN_BY]))
                chosen.append(reported[int(np.argmax([of_cell[CHOSEN_BY] for of_cell in tried]))])
        if leaky and len(leaky) == len(outer):
            pairs.append(PairedScores("none", model, _mean(leaky), _mean(chosen)))
    return pairs


def _means(
    scenario: LeakScenario, scores: Scores, trial: str, sampler: str, folds: int
) -> list[PairedScores]:
    """Pair the mean over the folds of a trial with the mean of the honest cells of the same names."""
    pairs = []
    for model in scenario.models:
        cells = [Cell(sampler, model, 0, fold) for fold in scenario.folds(folds)]
        leaky = [scores[trial, cell] for cell in cells if (trial, cell) in scores]
        fair = [scores[HONEST, cell] for cell in cells if (HONEST, cell) in scores]
        if len(leaky) == len(fair) == len(cells):
            pairs.append(PairedScores(sampler, model, _mean(leaky), _mean(fair)))
    return pairs
