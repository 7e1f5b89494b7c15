import numpy as np
from imblearn.over_sampling import SMOTE
from sklearn.base import clone

from skinmnist.resampling import smote_pixels as smote_pixels_module
from skinmnist.resampling.registry import resample
from skinmnist.resampling.smote_pixels import NeighboursOfRows, smote_pixels


def test_it_makes_what_smote_makes(lesions, monkeypatch):
    monkeypatch.setattr(smote_pixels_module, "BLOCK", 37)
    kept = np.isin(lesions.labels, np.flatnonzero(np.bincount(lesions.labels) > 5))
    pixels, labels = lesions.pixels[kept], lesions.labels[kept]
    expected, expected_labels = SMOTE(random_state=4).fit_resample(pixels.astype(np.float32), labels)
    found, found_labels = smote_pixels(SMOTE(random_state=4), pixels, labels)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found_labels, expected_labels)
    np.testing.assert_array_equal(found[: len(pixels)], pixels)
    # float32 may fall on the other side of a half.
    np.testing.assert_allclose(found, expected, atol=0.5001)


def test_pixels_stay_whole_and_numbers_do_not(lesions):
    for dtype, expected in ((np.uint8, np.uint8), (np.float64, np.float32)):
        result = resample(SMOTE(random_state=0), lesions.pixels.astype(dtype), lesions.labels)
        assert result.rows.dtype == expected
    assert "k_neighbors lowered" in " ".join(result.notes) or np.bincount(lesions.labels).min() > 5


def test_cloning_copies_no_rows():
    neighbours = NeighboursOfRows(np.zeros((3, 2), dtype=np.uint8), 2)
    assert clone(neighbours).rows is neighbours.rows
