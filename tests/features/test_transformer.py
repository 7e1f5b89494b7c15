import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skinmnist.errors import InputError
from skinmnist.features.extract import extract_features
from skinmnist.features.transformer import FARTHEST, LesionDescriptors, Standardiser


def test_training_rows_get_zero_mean_and_unit_spread(lesions):
    found = Standardiser().fit_transform(extract_features(lesions.pixels, lesions.shape))
    varying = found.std(axis=0) > 0
    within = varying & (np.abs(found).max(axis=0) < FARTHEST)
    assert within.mean() > 0.5
    np.testing.assert_allclose(found[:, within].mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(found[:, within].std(axis=0), 1, atol=1e-3)
    assert np.abs(found).max() <= FARTHEST


def test_a_column_that_does_not_vary_stays_at_nothing():
    rows = np.c_[np.full(20, 0.1, np.float32), np.arange(20, dtype=np.float32)]
    found = Standardiser().fit_transform(rows)
    np.testing.assert_allclose(found[:, 0], 0, atol=1e-3)


def test_it_is_describe_and_standardise_in_one(lesions):
    model = LesionDescriptors(lesions.shape).fit(lesions.pixels[:200])
    numbers = extract_features(lesions.pixels, lesions.shape)
    expected = Standardiser().fit(numbers[:200]).transform(numbers)
    np.testing.assert_array_equal(model.transform(lesions.pixels), expected)
    assert len(model.get_feature_names_out()) == expected.shape[1]
    assert model.n_features_in_ == lesions.pixels.shape[1]
    assert clone(model).shape == lesions.shape


def test_unfitted_or_other_pictures_are_refused(lesions):
    with pytest.raises(NotFittedError):
        LesionDescriptors(lesions.shape).transform(lesions.pixels)
    with pytest.raises(InputError, match="expected"):
        LesionDescriptors((9, 9, 3)).fit(lesions.pixels)
