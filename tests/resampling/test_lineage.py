import numpy as np
import pytest

from skinmnist.resampling.lineage import find_parents
from skinmnist.resampling.registry import make_sampler, resample


@pytest.mark.parametrize("position", [0.1, 0.5, 0.8])
def test_parents_of_a_made_row_are_found(position):
    rows = np.random.default_rng(0).normal(size=(30, 50))
    child = rows[7] + position * (rows[21] - rows[7])
    found = find_parents(child, rows)
    assert found is not None
    assert {found.first, found.second} == {7, 21}
    at = found.position if found.first == 7 else 1 - found.position
    assert at == pytest.approx(position, abs=1e-9)


def test_rounding_to_grey_levels_is_forgiven():
    rows = np.random.default_rng(1).integers(0, 256, (20, 300)).astype(np.uint8)
    child = np.rint(rows[3] + 0.4 * (rows[11].astype(float) - rows[3])).astype(np.uint8)
    found = find_parents(child, rows)
    assert found is not None
    assert {found.first, found.second} == {3, 11}


def test_a_row_of_its_own_has_no_parents():
    rng = np.random.default_rng(2)
    assert find_parents(rng.normal(size=50), rng.normal(size=(30, 50))) is None


def test_every_smote_row_has_parents():
    rng = np.random.default_rng(3)
    rows, labels = rng.normal(size=(50, 20)), np.array([0] * 40 + [1] * 10)
    made = resample(make_sampler("SMOTE", 0), rows, labels).rows[50:]
    assert all(find_parents(child, rows[40:]) is not None for child in made)
