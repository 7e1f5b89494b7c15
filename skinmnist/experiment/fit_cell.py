"""Run one cell from start to end: features, sampler, model, held-out predictions.

The sampler receives only the training rows of the fold; the held-out rows are used only for prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.mapped import row_blocks
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Answers, Cell, CellResult, Examples, Timing
from skinmnist.experiment.inputs import Inputs, TrainingRows, choose_training_rows
from skinmnist.experiment.splits import VALIDATION, training_rows
from skinmnist.experiment.training import Clock, Trained, Validation, fit_model
from skinmnist.models.cnn.heads import Trunk
from skinmnist.models.spec import MOST_ROWS, ModelSpec, Setting
from skinmnist.resampling.registry import Resampler, find_parents

#: Larger classes get no examples because the search for parents compares all pairs of their rows.
EXAMPLE_ROWS = 2000
#: Number of rows to predict or compare at once: a fold of a table ten times the size of HAM10000.
ROWS_AT_ONCE = 80 * 256


@dataclass(frozen=True, eq=False)
class Task:
    """The settings that the cells of a run share in addition to the table.

    `folds` is the output of `assign_folds`. With `by_lesion`, splits within the training set also keep
    lesions together. With `validate_on_held_out`, the held-out rows are used as the validation set. This leak
    occurs in many published systems; it is used for demonstrations only, never in comparisons. The
    `followers` of a cell are cells that a worker runs right after it, to use its networks again; see
    `find_followers`.
    """

    folds: npt.NDArray[np.int8]
    by_lesion: bool
    models: Mapping[str, ModelSpec]
    samplers: Mapping[str, Resampler]
    seed: int
    validate_on_held_out: bool = False
    followers: Mapping[Cell, tuple[Cell, ...]] = field(default_factory=dict)

    def shares_trunk(self, cell: Cell) -> bool:
        """Return whether a cell trains networks that other cells of its fold may use as well."""
        resampler = self.samplers[cell.sampler]
        return resampler.factory is None and self.models[cell.model].shares_trunk(resampler.name)


def share_networks(task: Task, cells: Iterable[Cell]) -> Task:
    """Return the task with the followers of some cells."""
    return replace(task, followers=find_followers(cells, task))


def find_followers(cells: Iterable[Cell], task: Task) -> dict[Cell, tuple[Cell, ...]]:
    """Group cells that share networks: map the first cell of each group to the others."""
    groups: dict[tuple[str, int, int], list[Cell]] = {}
    for cell in cells:
        if task.shares_trunk(cell):
            groups.setdefault(cell[1:], []).append(cell)
    return {first: tuple(others) for first, *others in groups.values() if others}


@dataclass(frozen=True, eq=False)
class Trial:
    """Cells that share one table and one task, for one pass of the runner.

    Trials with the same name share a table and folds; the name is also that of their folder.
    """

    name: str
    table: PixelTable
    task: Task
    cells: tuple[Cell, ...]


def cell_seeds(seed: int, cell: Cell) -> tuple[int, int]:
    """Return the seeds of the sampler and the model of a cell.

    The seeds depend only on the fold. Cells of one fold share their seeds, so differences between them are
    due to the methods.
    """
    state = np.random.SeedSequence([seed, cell.repeat, cell.fold]).generate_state(2)
    return int(state[0] >> 1), int(state[1] >> 1)


def fit_cell(cell: Cell, table: PixelTable, task: Task, trunk: Trunk | None = None) -> CellResult:
    """Train one cell and predict its held-out rows; exceptions of the sampler or model are not caught.

    `trunk` contains the networks that earlier cells of the fold have trained. The result does not depend on
    it.
    """
    spec = task.models[cell.model]
    fold_of = task.folds[cell.repeat]
    held_out = np.flatnonzero(fold_of == cell.fold)
    train = np.flatnonzero(training_rows(fold_of, cell.fold))
    natural_mix = np.bincount(table.labels[train], minlength=len(table.class_names)) / len(train)
    sampler_seed, model_seed = cell_seeds(task.seed, cell)
    resampler = task.samplers[cell.sampler].with_seed(sampler_seed)
    train, notes = choose_training_rows(train, np.asarray(table.labels[train]), spec, resampler)
    setting = Setting(table.shape, len(table.class_names), min(len(train), MOST_ROWS), model_seed)
    lesions = table.lesion_ids[train] if task.by_lesion and table.lesion_ids is not None else None
    inputs = Inputs(table, spec, fold_of)
    rows, labels = inputs.view(train, resampler), np.asarray(table.labels[train])
    set_aside = np.flatnonzero(fold_of == VALIDATION)
    monitor = held_out if task.validate_on_held_out else set_aside
    validation = None
    if len(monitor):
        validation = Validation(
            inputs.take(monitor), np.asarray(table.labels[monitor]), leaks=task.validate_on_held_out
        )
    if not task.shares_trunk(cell):
        trunk = None
    elif trunk is None and spec.replaces_head(resampler.name):
        trunk = Trunk()  # Tells the seconds of the networks from those of the head.
    trained = fit_model(spec, resampler, setting, rows, labels, lesions, validation=validation, trunk=trunk)
    fit_seconds = trained.fit_seconds + inputs.seconds * len(train)
    probabilities, predict_seconds = _answer(trained, inputs, held_out)

    on_pixels = spec.features.transformer is None and spec.features.extract is None
    shows_examples = on_pixels and (cell.repeat, cell.fold) == (0, 0)
    return CellResult(
        cell=cell,
        rows=held_out.astype(np.int64),
        labels=np.asarray(table.labels[held_out], dtype=np.int64),
        probabilities=probabilities,
        timing=Timing(
            rows=len(trained.labels),
            rows_resampled=trained.training.n_resampled,
            resample_seconds=trained.resample_seconds,
            fit_seconds=fit_seconds,
            predict_seconds=predict_seconds,
            peak_rss_mb=0.0,  # Measured only from outside the process.
            shared_seconds=trained.trunk.seconds if trained.trunk is not None else 0.0,
        ),
        counts_before=np.bincount(trained.labels, minlength=setting.n_classes).astype(float),
        counts_after=trained.training.class_mix(setting.n_classes),
        natural_mix=natural_mix,
        training_mix=trained.training_mix,
        notes=(*notes, *trained.notes),
        history={
            name: np.asarray(curve, float)
            for name, curve in getattr(trained.fitted.classifier, "history_", {}).items()
        },
        examples=_examples(rows, labels, trained.training) if shows_examples else None,
        validation=(
            Answers(np.asarray(table.labels[set_aside]), _answer(trained, inputs, set_aside)[0])
            if len(set_aside)
            else None
        ),
    )


def _answer(
    trained: Trained, inputs: Inputs, held_out: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], float]:
    """Return the probabilities of the held-out rows and the prediction time in seconds."""
    clock, seconds = Clock(trained.trunk), 0.0
    answers = []
    for block in row_blocks(len(held_out), ROWS_AT_ONCE):
        unseen = inputs.take(held_out[block])
        clock.lap()
        answers.append(trained.answer(unseen))
        seconds += clock.lap() + inputs.seconds * len(unseen)
    return np.concatenate(answers), seconds


def _examples(
    rows: npt.NDArray[Any], labels: npt.NDArray[np.int64], training: TrainingRows
) -> Examples | None:
    """Return a synthetic row of each class with its two parents; None if the sampler does not interpolate."""
    n_old = len(rows)
    if len(training.rows) <= n_old:
        return None
    if not all(np.array_equal(training.rows[b], rows[b]) for b in row_blocks(n_old, ROWS_AT_ONCE)):
        return None
    families, codes = [], []
    for code in np.unique(training.labels[n_old:]):
        own = rows[labels == code]
        if len(own) > EXAMPLE_ROWS:
            continue
        for row in n_old + np.flatnonzero(training.labels[n_old:] == code)[:8]:
            child = training.rows[row]
            parents = find_parents(child, own)
            # A row near the middle between its parents shows the effect of interpolation best.
            if parents is not None and 0.25 < parents.position < 0.75:
                families.append([own[parents.first], own[parents.second], child])
                codes.append(code)
                break
    if not families:
        return None
    pictures = np.clip(np.rint(np.stack(families, axis=1)), 0, 255).astype(np.uint8)
    return Examples(pictures[0], pictures[1], pictures[2], np.asarray(codes, dtype=np.int64))
