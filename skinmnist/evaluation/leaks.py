"""The list of leaks: which cells each needs, and what is held against what.

Sources: resampling before the split, and its price: Santos et al., IEEE Computational Intelligence Magazine
13(4), 2018. Leaks in general: Kapoor & Narayanan, Patterns 4(9), 2023. Tuning on what is reported: Cawley &
Talbot, JMLR 11, 2010.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skinmnist.evaluation.cells import Cell
from skinmnist.evaluation.differences import COMPARED_METRICS
from skinmnist.evaluation.leak_record import RESAMPLED, SHARED_LESIONS, TUNED, LeakWords
from skinmnist.evaluation.leak_trials import (
    BY_IMAGE,
    HONEST,
    IMAGE_FOLDS,
    INNER,
    RESAMPLED_FOLDS,
    SAMPLERS_BEFORE,
    SEEN,
    Ground,
    Trial,
    by_image,
    candidates,
    honest,
    inner_fold,
    resampled_first,
    tuned,
)

#: The score by which settings are chosen.
CHOSEN_BY = COMPARED_METRICS[0]

Scores = Mapping[tuple[str, Cell], Mapping[str, float]]


class Twin(NamedTuple):
    """A leaky score beside its honest one, by metric."""

    sampler: str
    model: str
    leaky: Mapping[str, float]
    honest: Mapping[str, float]


@dataclass(frozen=True)
class Leak:
    """A way to be fooled.

    Attributes
    ----------
    words : LeakWords
    trials : callable
        Ground -> the cells to run, honest ones included; none where the leak cannot be shown.
    twins : callable
        Ground and the scores of the cells, by trial and cell -> what stands beside what; a pair of which a
        cell is missing is left out.
    """

    words: LeakWords
    trials: Callable[[Ground], list[Trial]]
    twins: Callable[[Ground, Scores], list[Twin]]


def _resampling_trials(ground: Ground) -> list[Trial]:
    before = [resampled_first(ground, sampler) for sampler in SAMPLERS_BEFORE]
    return [honest(ground, SAMPLERS_BEFORE, RESAMPLED_FOLDS), *before]


def _resampling_twins(ground: Ground, scores: Scores) -> list[Twin]:
    return [
        twin
        for sampler in SAMPLERS_BEFORE
        for twin in _means(ground, scores, f"{sampler}_before_the_split", sampler, RESAMPLED_FOLDS)
    ]


def _lesion_trials(ground: Ground) -> list[Trial]:
    if ground.table.lesion_ids is None:
        return []
    return [honest(ground, ("none",), IMAGE_FOLDS), by_image(ground)]


def _lesion_twins(ground: Ground, scores: Scores) -> list[Twin]:
    return _means(ground, scores, BY_IMAGE, "none", IMAGE_FOLDS)


def _tuning_twins(ground: Ground, scores: Scores) -> list[Twin]:
    """Choose by the fold that is reported, and by the fold inside; both report the same fold."""
    twins = []
    n_folds = ground.plan.protocol["folds"]
    outer = sorted({cell.fold for trial, cell in scores if trial == SEEN})
    for model, settings in candidates(ground).items():
        leaky, chosen = [], []
        for fold in outer:
            seen = [scores.get((SEEN, Cell("none", name, 0, fold))) for name in settings]
            inside = [
                scores.get((INNER, Cell("none", name, fold, inner_fold(fold, n_folds)))) for name in settings
            ]
            reported = [found for found in seen if found is not None]
            tried = [found for found in inside if found is not None]
            if len(reported) == len(tried) == len(settings):
                leaky.append(max(reported, key=lambda found: found[CHOSEN_BY]))
                chosen.append(reported[int(np.argmax([found[CHOSEN_BY] for found in tried]))])
        if leaky and len(leaky) == len(outer):
            twins.append(Twin("none", model, _mean(leaky), _mean(chosen)))
    return twins


def _means(ground: Ground, scores: Scores, trial: str, sampler: str, folds: int) -> list[Twin]:
    """Set the mean over the folds of a trial beside that of the honest cells with the same names."""
    twins = []
    for model in ground.models:
        cells = [Cell(sampler, model, 0, fold) for fold in ground.folds(folds)]
        leaky = [scores[trial, cell] for cell in cells if (trial, cell) in scores]
        fair = [scores[HONEST, cell] for cell in cells if (HONEST, cell) in scores]
        if len(leaky) == len(fair) == len(cells):
            twins.append(Twin(sampler, model, _mean(leaky), _mean(fair)))
    return twins


def _mean(scores: list[Mapping[str, float]]) -> dict[str, float]:
    return {
        metric: float(np.mean([of_cell[metric] for of_cell in scores]))
        for metric in COMPARED_METRICS
        if all(metric in of_cell for of_cell in scores)
    }


LEAKS = [
    Leak(RESAMPLED, trials=_resampling_trials, twins=_resampling_twins),
    Leak(SHARED_LESIONS, trials=_lesion_trials, twins=_lesion_twins),
    Leak(TUNED, trials=tuned, twins=_tuning_twins),
]
