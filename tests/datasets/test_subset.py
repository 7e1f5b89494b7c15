import numpy as np
import pytest

from skinmnist.datasets.subset import draw_rows
from skinmnist.errors import InputError


@pytest.mark.parametrize("n_rows", [50, 120, 300])
def test_lesions_stay_whole_and_classes_in_proportion(lesions, n_rows):
    rows = draw_rows(lesions, n_rows, random_state=3)
    left = np.setdiff1d(np.arange(len(lesions)), rows)
    assert not set(lesions.lesion_ids[rows]) & set(lesions.lesion_ids[left])
    assert 0.9 * n_rows <= len(rows) <= n_rows + len(lesions.class_names)
    shares = np.bincount(lesions.labels[rows]) / len(rows)
    np.testing.assert_allclose(shares, lesions.class_counts / len(lesions), atol=0.03)


def test_seed_decides(lesions):
    np.testing.assert_array_equal(draw_rows(lesions, 100, 5), draw_rows(lesions, 100, 5))
    assert not np.array_equal(draw_rows(lesions, 100, 5), draw_rows(lesions, 100, 6))


def test_all_rows_where_there_are_no_more(lesions):
    np.testing.assert_array_equal(draw_rows(lesions, len(lesions) + 1), np.arange(len(lesions)))


def test_too_few(lesions):
    with pytest.raises(InputError, match="received 6 rows to draw from 7 classes"):
        draw_rows(lesions, 6)
