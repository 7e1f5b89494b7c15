"""Trials: what is resampled at once, and what stored cells depend on."""

import numpy as np
import pytest

from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.trials import LeakTrial, resample_all


@pytest.mark.parametrize("sampler", ["RandomOverSampler", "SMOTE", "RandomUnderSampler"])
def test_resampled_rows_are_equal_in_number_and_have_no_lesions(lesions, sampler):
    rows = np.arange(0, len(lesions), 2)
    table = resample_all(lesions, rows, sampler, 0)
    counts = np.bincount(lesions.labels[rows])
    most = counts.min() if sampler == "RandomUnderSampler" else counts.max()
    assert table.class_counts.tolist() == [most] * 7
    assert table.pixels.dtype == np.uint8
    assert table.lesion_ids is None
    np.testing.assert_array_equal(resample_all(lesions, rows, sampler, 0).pixels, table.pixels)


def test_cells_of_another_name_or_identity_are_others(lesions):
    plan = make_plan(lesions, ("none",), ["dummy"], 3, 1, None, 0, None)
    trials = [LeakTrial(name, lesions, plan.task, plan.cells) for name in ("one", "two")]
    found = [trial.provenance(*words).identity for trial in trials for words in (("a",), ("a", "b"))]
    assert len(set(found)) == 4
    assert trials[0].provenance("a") == trials[0].provenance("a")
