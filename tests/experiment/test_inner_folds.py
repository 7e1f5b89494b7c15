"""Folds inside the training part, and what is done with them."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import Task, fit_cell
from skinmnist.experiment.grid import resolve_samplers
from skinmnist.experiment.splits import assign_folds, draw_lesions, inner_folds
from skinmnist.experiment.training import fit_model
from skinmnist.models.spec import FeatureSettings, ModelSpec, Setting
from skinmnist.resampling.registry import Resampler

BYTES = FeatureSettings(pixel_type="uint8")


@pytest.mark.parametrize("folds", [2, 3, 10])
def test_lesions_stay_together_and_every_class_is_kept(lesions, folds):
    for kept, left_out in inner_folds(lesions.labels, lesions.lesion_ids, folds, 0):
        assert set(kept) | set(left_out) == set(range(len(lesions)))
        assert not set(lesions.lesion_ids[kept]) & set(lesions.lesion_ids[left_out])
        assert set(lesions.labels[kept]) == set(range(7))


def test_a_class_of_one_lesion_is_refused():
    with pytest.raises(ValueError, match="a class has too few"):
        inner_folds(np.array([0, 0, 0, 1, 1]), np.array(list("aabcc")), 2, 0)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_of_every_class_is_drawn_in_whole_lesions(lesions, share, known):
    units = lesions.lesion_ids if known else np.arange(len(lesions))
    sample_indices = draw_lesions(lesions.labels, units if known else None, share, 3)
    left = np.setdiff1d(np.arange(len(lesions)), sample_indices)
    assert not set(units[sample_indices]) & set(units[left])
    for code in range(7):
        own = units[lesions.labels == code]
        assert len(np.unique(units[sample_indices][lesions.labels[sample_indices] == code])) == int(
            share * len(np.unique(own))
        )
        assert code in lesions.labels[left]


class Witness(DummyClassifier):
    """A classifier that remembers what it was given."""

    def fit(self, X, y, validation_data):
        Witness.seen = X, y, validation_data
        return super().fit(X, y)


def test_too_few_lesions_to_validate_on_any_are_refused():
    spec = ModelSpec("witness", lambda setting: Witness(), BYTES, validation_share=0.1)
    rows, labels = np.zeros((18, 12), np.uint8), np.repeat([0, 1], 9)
    setting = Setting((2, 2, 3), 2, 18, 0)
    with pytest.raises(ValueError, match="too few lesions to validate on 10%"):
        fit_model(spec, Resampler("none"), setting, rows, labels, None)


def test_the_validation_set_is_split_off_before_the_sampler_sees_it(lesions):
    spec = ModelSpec("witness", lambda setting: Witness(), BYTES, validation_share=0.2)
    samplers = resolve_samplers(["RandomOverSampler"])
    folds = assign_folds(lesions, 5, 1, "lesion", 0)
    task = Task(folds, True, {"witness": spec}, samplers, seed=0)
    result = fit_cell(Cell("RandomOverSampler", "witness", 0, 2), lesions, task)
    rows, labels, (validation, validation_labels) = Witness.seen

    lesion_of = {pixels.tobytes(): i for i, pixels in zip(lesions.lesion_ids, lesions.pixels, strict=True)}
    held_out = set(lesions.lesion_ids[folds[0] == 2])
    trained, seen = ({lesion_of[row.tobytes()] for row in part} for part in (rows, validation))
    assert trained | seen == set(lesions.lesion_ids) - held_out
    assert not trained & seen
    assert 0.15 < len(seen) / len(trained | seen) <= 0.2
    assert len(set(np.bincount(labels))) == 1
    assert len(set(np.bincount(validation_labels))) > 1
    assert result.timing.rows == np.count_nonzero(folds[0] != 2) - len(validation)
    assert result.counts_before.sum() == result.timing.rows
