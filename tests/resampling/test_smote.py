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


@pytest.mark.parametrize("strategy", ["auto", "minority", "all", TowardsBalance(0.5, "adds"), {1: 900}, {}])
@pytest.mark.parametrize("state", [int, np.random.RandomState])
@pytest.mark.parametrize("of_labels", [np.int64, np.int8])
def test_features_are_those_of_smote(common, strategy, state, of_labels):
    rows, labels = common[0].astype(np.float32) / 7, common[1].astype(of_labels)

    def sampler():
        return SMOTE(sampling_strategy=strategy, random_state=state(4))

    expected, expected_labels = sampler().fit_resample(rows, labels)
    found = resample(sampler(), rows, labels)
    assert found.rows.dtype == expected.dtype == np.float32
    assert found.labels.dtype == expected_labels.dtype
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.labels, expected_labels)


def test_two_classes_take_a_ratio(common):
    rows, labels = common[0].astype(np.float32), (common[1] == common[1][0]).astype(np.int64)
    expected, _ = SMOTE(sampling_strategy=0.9, random_state=0).fit_resample(rows, labels)
    found, _ = smote_features(SMOTE(sampling_strategy=0.9, random_state=0), rows, labels)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("strategy", [None, [1], "often", {1: 2}, {77: 500}])
def test_a_strategy_is_refused_as_by_smote(common, strategy):
    rows, labels = common[0].astype(np.float32), common[1]
    with pytest.raises(ValueError, match=r".") as expected:
        SMOTE(sampling_strategy=strategy).fit_resample(rows, labels)
    with pytest.raises(ValueError, match=r".") as found:
        smote_features(SMOTE(sampling_strategy=strategy), rows, labels)
    assert str(found.value) == str(expected.value)


def test_numbers_that_are_none_are_refused_in_every_class(common):
    rows, labels = common[0].astype(np.float32), common[1]
    rows[np.flatnonzero(labels == np.bincount(labels).argmax())[0], 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        smote_features(SMOTE(random_state=0), rows, labels)


def test_pixels_stay_whole_and_numbers_do_not(lesions):
    for dtype, expected in ((np.uint8, np.uint8), (np.float64, np.float32)):
        result = resample(SMOTE(random_state=0), lesions.pixels.astype(dtype), lesions.labels)
        assert result.rows.dtype == expected
    assert "k_neighbors lowered" in " ".join(result.notes) or np.bincount(lesions.labels).min() > 5


def test_cloning_copies_no_rows():
    neighbours = NeighboursOfRows(np.zeros((3, 2), dtype=np.uint8), 2)
    assert clone(neighbours).rows is neighbours.rows
