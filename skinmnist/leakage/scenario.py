"""The splitting, resampling and tuning of each leak: tables and tasks for the runner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import Trial
from skinmnist.experiment.inputs import resample_all
from skinmnist.experiment.plan import Plan
from skinmnist.experiment.splits import LEFT_OUT, assign_folds
from skinmnist.models.spec import ModelSpec, Setting
from skinmnist.resampling.registry import AS_THEY_ARE

#: Names of the trials.
HONEST, BY_IMAGE, SEEN, INNER = "honest", "by_image", "tuned_on_the_test_fold", "tuned_inside"
#: Samplers that are applied before the split.
SAMPLERS_BEFORE = ("RandomOverSampler", "SMOTE")
#: Held-out folds per leak: the fewest that separate the leak from chance.
RESAMPLED_FOLDS, IMAGE_FOLDS, TUNED_FOLDS = 1, 3, 1
#: Candidate factors for the penalty C, and the number of candidate seeds, for tuning.
PENALTY_FACTORS = (0.04, 0.2, 1.0, 5.0, 25.0)
SEEDS = 8
#: Number of trees in each forest when the seed is tuned.
TREES = 20


@dataclass(frozen=True, eq=False)
class LeakScenario:
    """The table of a demonstration and the honest plan of its models."""

    table: PixelTable
    plan: Plan

    @property
    def models(self) -> dict[str, ModelSpec]:
        """The models, by name."""
        return dict(self.plan.task.models)

    @property
    def n_folds(self) -> int:
        """Number of folds of the cross-validation."""
        return self.plan.protocol.folds

    @property
    def taking_part(self) -> npt.NDArray[np.int64]:
        """The rows of the table that belong to a fold."""
        return np.flatnonzero(self.plan.task.folds[0] != LEFT_OUT)

    def folds(self, most: int) -> range:
        """Return the first held-out folds, up to `most`."""
        return range(min(most, self.n_folds))

    def cells(self, sampler: str, most: int) -> list[Cell]:
        """Return the cells of every model with a given sampler, on the first folds."""
        return [Cell(sampler, model, 0, fold) for model in self.models for fold in self.folds(most)]


def honest(scenario: LeakScenario, samplers: tuple[str, ...], folds: int) -> Trial:
    """Resample inside the folds and keep lesions together, as the reference for every leak."""
    cells = [cell for sampler in samplers for cell in scenario.cells(sampler, folds)]
    return Trial(HONEST, scenario.table, scenario.plan.task, tuple(cells))


def resampled_first(scenario: LeakScenario, sampler: str) -> Trial:
    """Resample all pictures first, then split them into folds picture by picture.

    The cells train without a sampler on the rows of their folds, but are named after the sampler that was
    applied before the split. Models keep their budget, which depends on the number of rows before resampling,
    so only the split differs and not the cost.
    """
    plan, rows, n_folds = scenario.plan, scenario.taking_part, scenario.n_folds
    table = resample_all(scenario.table, rows, sampler, plan.task.seed)
    train_rows = round(len(rows) * (n_folds - 1) / n_folds)
    task = replace(
        plan.task,
        folds=assign_folds(table, n_folds, 1, "image", plan.task.seed),
        by_lesion=False,
        models={name: _with_budget(spec, train_rows) for name, spec in scenario.models.items()},
        samplers={sampler: AS_THEY_ARE},
    )
    cells = scenario.cells(sampler, RESAMPLED_FOLDS)
    return Trial(f"{sampler}_before_the_split", table, task, tuple(cells))


def by_image(scenario: LeakScenario) -> Trial:
    """Split picture by picture, which spreads the pictures of a lesion over several folds."""
    task, table = scenario.plan.task, scenario.table
    folds = assign_folds(table, scenario.n_folds, 1, "image", task.seed, scenario.taking_part)
    cells = scenario.cells("none", IMAGE_FOLDS)
    return Trial(BY_IMAGE, table, replace(task, folds=folds, by_lesion=False), tuple(cells))


def candidates(scenario: LeakScenario) -> dict[str, dict[str, ModelSpec]]:
    """Return the candidate settings for tuning, by model and name.

    The candidates for a classifier with a penalty ``C`` are multiples of it. For other random classifiers
    they are seeds, because reporting the best of many runs amounts to tuning the seed. Other models are
    omitted.
    """
    found = {}
    for name, spec in scenario.models.items():
        setting = Setting(scenario.table.shape, len(scenario.table.class_names), len(scenario.taking_part), 0)
        params = spec.build(setting, "none").get_params(deep=False)
        if "C" in params:
            changes = {f"{name}, C x {factor:g}": {"C": factor * params["C"]} for factor in PENALTY_FACTORS}
        elif "random_state" in params:
            fewer = {"n_estimators": TREES} if "n_estimators" in params else {}
            changes = {f"{name}, seed {seed}": {"random_state": seed, **fewer} for seed in range(SEEDS)}
        else:
            continue
        found[name] = {
            setting_name: replace(spec, classifier=partial(_with_params, spec.classifier, change))
            for setting_name, change in changes.items()
        }
    return found


def tuned(scenario: LeakScenario) -> list[Trial]:
    """Train every setting twice, to score it on the held-out fold and on a fold of the training lesions.

    The second training run excludes the held-out fold and holds out the next fold instead; the repeat number
    of such a cell is the number of the excluded fold.
    """
    task, n_folds = scenario.plan.task, scenario.n_folds
    settings = {name: spec for of_model in candidates(scenario).values() for name, spec in of_model.items()}
    outer = [fold for fold in scenario.folds(TUNED_FOLDS) if n_folds > 2]
    if not settings or not outer:
        return []
    inside = np.stack([np.where(task.folds[0] == fold, LEFT_OUT, task.folds[0]) for fold in outer])
    task = replace(task, models=settings)
    seen = [Cell("none", name, 0, fold) for name in settings for fold in outer]
    inner = [Cell("none", name, fold, inner_fold(fold, n_folds)) for name in settings for fold in outer]
    return [
        Trial(SEEN, scenario.table, task, tuple(seen)),
        Trial(INNER, scenario.table, replace(task, folds=inside.astype(np.int8)), tuple(inner)),
    ]


def inner_fold(fold: int, n_folds: int) -> int:
    """Return the fold on which to choose settings while `fold` stays unseen."""
    return (fold + 1) % n_folds


def _with_budget(spec: ModelSpec, train_rows: int) -> ModelSpec:
    features = spec.features
    if features.transformer is not None:
        features = replace(features, transformer=partial(_for_rows, features.transformer, train_rows))
    return replace(spec, classifier=partial(_for_rows, spec.classifier, train_rows), features=features)


def _for_rows(build: Callable[[Setting], Any], train_rows: int, setting: Setting) -> Any:
    return build(replace(setting, train_rows=train_rows))


def _with_params(build: Callable[[Setting], Any], params: dict[str, Any], setting: Setting) -> Any:
    return build(setting).set_params(**params)
