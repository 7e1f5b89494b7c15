import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from sklearn.base import clone

from skinmnist.resampling import smote as smote_module
from skinmnist.resampling.registry import TowardsBalance, resample
from skinmnist.resampling.smote import NeighboursOfRows, smote_features, smote_pixels


@pytest.fixture
def common(lesions):
    """Rows and labels of the classes with more rows than SMOTE has neighbours."""
    kept = np.isin(lesions.labels, np.flatnonzero(np.bincount(lesions.labels) > 5))
    return lesions.pixels[kept], lesions.labels[kept]


def test_pixels_are_those_of_smote(common, monkeypatch):
    monkeypatch.setattr(smote_module, "BLOCK", 37)
    pixels, labels = common
    expected, expected_labels = SMOTE(random_state=4).fit_resample(pixels.astype(np.float32), labels)
    found, found_labels = smote_pixels(SMOTE(random_state=4), pixels, labels)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found_labels, expected_labels)
    np.testing.assert_array_equal(found[: len(pixels)], pixels)
    # float32 may fall on the other side of a half.
    np.testing.assert_allclose(found, expected, atol=0.5001)


@pytest.mark.parametrize("strategy", ["auto", "minority", "all", TowardsBalance(0.5, "adds"), {1: 900}])
@pytest.mark.parametrize("state", [int, np.random.RandomState])
@pytest.mark.filterwarnings("ignore:After over-sampling")
def test_features_are_those_of_smote(common, strategy, state):
    rows, labels = common[0].astype(np.float32) / 7, common[1]
    expected, expected_labels = SMOTE(sampling_strategy=strategy, random_state=state(4)).fit_resample(
        rows, labels
    )
    found, found_labels = smote_features(
        SMOTE(sampling_strategy=strategy, random_state=state(4)), rows, labels
    )
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found_labels, expected_labels)


def test_pixels_stay_whole_and_numbers_do_not(lesions):
    for dtype, expected in ((np.uint8, np.uint8), (np.float64, np.float32)):
        result = resample(SMOTE(random_state=0), lesions.pixels.astype(dtype), lesions.labels)
        assert result.rows.dtype == expected
    assert "k_neighbors lowered" in " ".join(result.notes) or np.bincount(lesions.labels).min() > 5


def test_cloning_copies_no_rows():
    neighbours = NeighboursOfRows(np.zeros((3, 2), dtype=np.uint8), 2)
    assert clone(neighbours).rows is neighbours.rows
