import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier

from skinmnist.models.forest import BalancedEnsemble, EvenForest


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


@pytest.fixture
def skewed():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [200, 30, 10])
    return rng.normal(labels[:, None], 1.0, (240, 4)), labels


@pytest.mark.parametrize("kind", ["balanced_random_forest", "balanced_bagging", "easy_ensemble", "rus_boost"])
def test_balanced_ensembles_find_the_rare_classes_and_repeat_themselves(skewed, kind):
    rows, labels = skewed
    model = BalancedEnsemble(kind, random_state=3).fit(rows, labels)
    fresh = np.random.default_rng(2).normal(np.repeat([0, 1, 2], 50)[:, None], 1.0, (150, 4))
    found, plain = model.predict(fresh), EvenForest(random_state=3).fit(rows, labels).predict(fresh)
    recalls, plain_recalls = (
        [np.mean(answers[50 * code : 50 * code + 50] == code) for code in (1, 2)]
        for answers in (found, plain)
    )
    assert sum(recalls) > sum(plain_recalls)
    again = clone(model).fit(rows, labels)
    np.testing.assert_array_equal(model.decision_function(fresh), again.decision_function(fresh))
    assert model.decision_function(fresh).shape == (150, 3)


@pytest.mark.parametrize("kind", ["balanced_random_forest", "balanced_bagging"])
def test_every_tree_of_a_balanced_ensemble_sees_the_classes_equally_often(skewed, kind):
    ensemble = BalancedEnsemble(kind).fit(*skewed).ensemble_
    trees = [getattr(member, "steps", [(None, member)])[-1][1] for member in ensemble.estimators_]
    roots = np.array([tree.tree_.value[0, 0] for tree in trees])
    np.testing.assert_allclose(roots / roots.sum(axis=1, keepdims=True), 1 / 3)
