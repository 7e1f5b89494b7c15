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

from skinmnist.analysis.significance import COMPARED_METRICS
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.trials import LeakTrial
from skinmnist.leakage.leak_record import RESAMPLED, SHARED_LESIONS, TUNED, LeakWords
from skinmnist.leakage.trials import (
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

#: The score by which settings are chosen.
CHOSEN_BY = COMPARED_METRICS[0]

Scores = Mapping[tuple[str, Cell], Mapping[str, float]]


class PairedScores(NamedTuple):
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
    trials: Callable[[LeakScenario], list[LeakTrial]]
    paired_scores: Callable[[LeakScenario, Scores], list[PairedScores]]


def _resampling_trials(scenario: LeakScenario) -> list[LeakTrial]:
    before = [resampled_first(scenario, sampler) for sampler in SAMPLERS_BEFORE]
    return [honest(scenario, SAMPLERS_BEFORE, RESAMPLED_FOLDS), *before]


def _resampling_twins(scenario: LeakScenario, scores: Scores) -> list[PairedScores]:
    return [
        pair
        for sampler in SAMPLERS_BEFORE
        for pair in _means(scenario, scores, f"{sampler}_before_the_split", sampler, RESAMPLED_FOLDS)
    ]


def _lesion_trials(scenario: LeakScenario) -> list[LeakTrial]:
    if scenario.table.lesion_ids is None:
        return []
    return [honest(scenario, ("none",), IMAGE_FOLDS), by_image(scenario)]


def _lesion_twins(scenario: LeakScenario, scores: Scores) -> list[PairedScores]:
    return _means(scenario, scores, BY_IMAGE, "none", IMAGE_FOLDS)


def _tuning_twins(scenario: LeakScenario, scores: Scores) -> list[PairedScores]:
    """Choose by the fold that is reported, and by the fold inside; both report the same fold."""
    paired_scores = []
    n_folds = scenario.plan.protocol["folds"]
    outer = sorted({cell.fold for trial, cell in scores if trial == SEEN})
    for model, settings in candidates(scenario).items():
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
            paired_scores.append(PairedScores("none", model, _mean(leaky), _mean(chosen)))
    return paired_scores


def _means(
    scenario: LeakScenario, scores: Scores, trial: str, sampler: str, folds: int
) -> list[PairedScores]:
    """Set the mean over the folds of a trial beside that of the honest cells with the same names."""
    paired_scores = []
    for model in scenario.models:
        cells = [Cell(sampler, model, 0, fold) for fold in scenario.folds(folds)]
        leaky = [scores[trial, cell] for cell in cells if (trial, cell) in scores]
        fair = [scores[HONEST, cell] for cell in cells if (HONEST, cell) in scores]
        if len(leaky) == len(fair) == len(cells):
            paired_scores.append(PairedScores(sampler, model, _mean(leaky), _mean(fair)))
    return paired_scores


def _mean(scores: list[Mapping[str, float]]) -> dict[str, float]:
    return {
        metric: float(np.mean([of_cell[metric] for of_cell in scores]))
        for metric in COMPARED_METRICS
        if all(metric in of_cell for of_cell in scores)
    }


LEAKS = [
    Leak(RESAMPLED, trials=_resampling_trials, paired_scores=_resampling_twins),
    Leak(SHARED_LESIONS, trials=_lesion_trials, paired_scores=_lesion_twins),
    Leak(TUNED, trials=tuned, paired_scores=_tuning_twins),
]
