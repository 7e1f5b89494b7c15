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


def test_more_rows_than_a_tree_takes_are_said(task, monkeypatch):
    monkeypatch.setattr("skinmnist.models.forest.TREE_ROWS", 30)
    forest = EvenForest(80, random_state=3).fit(*task)
    assert forest.notes_ == ("each tree saw 30 rows instead of 80",)
    monkeypatch.undo()
    assert EvenForest(30, random_state=3).fit(*task).notes_ == ()
    np.testing.assert_array_equal(
        forest.predict_proba(task[0]), EvenForest(30, random_state=3).fit(*task).predict_proba(task[0])
    )


def test_copies_do_not_make_trees_deeper(task):
    rows, labels = np.tile(task[0], (10, 1)), np.tile(task[1], 10)
    leaves = [
        np.mean([tree.get_n_leaves() for tree in EvenForest(limit).fit(rows, labels).estimators_])
        for limit in (100, None)
    ]
    assert leaves[0] < leaves[1]


def test_rounded_numbers_are_what_the_trees_see(task):
    rounded = EvenForest(levels=4, random_state=3).fit(*task)
    plain = EvenForest(random_state=3).fit(np.rint(task[0].astype(np.float32) * 4), task[1])
    unseen = np.random.default_rng(1).normal(1.0, 1.0, (50, 4)).astype(np.float32)
    np.testing.assert_array_equal(rounded.predict_proba(unseen), plain.predict_proba(np.rint(unseen * 4)))
    np.testing.assert_array_equal(
        rounded.predict(unseen), rounded.predict_proba(unseen).argmax(axis=1), "decisions follow as well"
    )


def test_clone_keeps_the_limit():
    assert clone(EvenForest(77)).get_params()["rows_per_tree"] == 77
