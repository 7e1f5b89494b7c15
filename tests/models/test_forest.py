import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier

from skinmnist.models.forest import EvenForest


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    return rng.normal(labels[:, None], 1.0, (100, 4)), labels


@pytest.mark.parametrize(("rows_per_tree", "expected"), [(None, 100), (40, 40), (400, 100)])
def test_it_is_the_forest_whose_trees_see_so_many_rows(task, rows_per_tree, expected):
    forest = EvenForest(rows_per_tree, random_state=3).fit(*task)
    plain = RandomForestClassifier(
        100, min_samples_leaf=2, max_samples=None if expected == 100 else expected, random_state=3
    ).fit(*task)
    np.testing.assert_array_equal(forest.predict_proba(task[0]), plain.predict_proba(task[0]))


def test_copies_do_not_make_trees_deeper(task):
    rows, labels = np.tile(task[0], (10, 1)), np.tile(task[1], 10)
    leaves = [
        np.mean([tree.get_n_leaves() for tree in EvenForest(limit).fit(rows, labels).estimators_])
        for limit in (100, None)
    ]
    assert leaves[0] < leaves[1]


def test_clone_keeps_the_limit():
    assert clone(EvenForest(77)).get_params()["rows_per_tree"] == 77
