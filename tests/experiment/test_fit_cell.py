"""What a cell does otherwise than asked stands in its notes."""

from dataclasses import replace

import numpy as np
import pytest

from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.plan import make_plan
from skinmnist.models.registry import MODELS


def run(lesions, sampler, **limits):
    spec = MODELS["svm"]
    models = {"svm": replace(spec, limits=replace(spec.limits, **limits))}
    plan = make_plan(lesions, [sampler], models, 5, 1, None, 0, None)
    return fit_cell(Cell(sampler, "svm", 0, 0), lesions, plan.task)


@pytest.mark.parametrize("sampler", ["none", "RandomOverSampler", "SMOTE"])
def test_a_machine_that_takes_fewer_rows_says_so(lesions, sampler):
    whole, part = run(lesions, sampler), run(lesions, sampler, pair=100)
    assert not any("training rows, sampled at random" in note for note in whole.notes)
    assert sum("training rows, sampled at random" in note for note in part.notes) == 1
    # What the sampler made is told whole, and the scores are those of another machine.
    np.testing.assert_array_equal(part.counts_after, whole.counts_after)
    assert part.timing.rows_resampled == whole.timing.rows_resampled
    assert not np.array_equal(part.probabilities, whole.probabilities)


def test_calibrating_on_fewer_rows_says_so(lesions):
    whole, part = run(lesions, "SMOTE"), run(lesions, "SMOTE", calibration_pair=60)
    assert not any("calibrated" in note for note in whole.notes)
    assert sum("calibrated by classifiers of at most 60 rows" in note for note in part.notes) == 1
    assert not np.array_equal(part.probabilities, whole.probabilities)


def test_a_machine_that_takes_fewer_resampled_rows_says_so_and_counts_all_of_them(lesions):
    whole, part = run(lesions, "SMOTE"), run(lesions, "SMOTE", resampled=10)
    assert not any("made by the sampler" in note for note in whole.notes)
    assert sum("made by the sampler, sampled at random" in note for note in part.notes) == 1
    np.testing.assert_allclose(part.counts_after, whole.counts_after)
    assert part.timing.rows_resampled == whole.timing.rows_resampled
    assert not np.array_equal(part.probabilities, whole.probabilities)
