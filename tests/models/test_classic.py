"""The SVM against libsvm, its components, width and copies as weights; the forest and balanced ensembles."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.svm import SVC

from skinmnist.inference import kernel
from skinmnist.models.classic import (
    BalancedEnsemble,
    BoostedTrees,
    Components,
    EvenForest,
    PairwiseSVC,
    round_to_values,
)
from skinmnist.models.registry import MODELS
from skinmnist.models.spec import Setting


@pytest.fixture
def training(lesions):
    spec, setting = MODELS["svm"], Setting(lesions.shape, 7, 300, 0)
    features = spec.features.extract(lesions.pixels[:300], lesions.shape)
    return spec, setting, spec.features.transformer(setting).fit_transform(features), lesions.labels[:300]


def test_the_width_is_that_of_gamma_scale_on_the_rows_before_resampling(training):
    spec, setting, rows, _ = training
    gamma = spec.build(setting, "none").gamma
    assert gamma == pytest.approx(1 / (rows.shape[1] * rows.var()), rel=1e-3)


def test_copies_and_weights_are_the_same_machine(training):
    spec, setting, rows, labels = training
    copies = np.random.default_rng(0).integers(1, 4, len(rows))
    copied = spec.build(setting, "none").fit(np.repeat(rows, copies, axis=0), np.repeat(labels, copies))
    weighted = spec.build(setting, "none").fit(rows, labels, sample_weight=copies)
    first, second = copied.decision_function(rows), weighted.decision_function(rows)
    # Both stop within libsvm's tolerance of the same optimum.
    np.testing.assert_allclose(first, second, atol=0.02)


def test_axes_keep_the_distances_between_descriptors(training, lesions):
    spec, setting, rows, _ = training
    features = spec.features.extract(lesions.pixels[:300], lesions.shape)
    standard = MODELS["random_forest"].features.transformer(setting).fit_transform(features)
    before = np.linalg.norm(standard[:50, None] - standard[None, 50:100], axis=2).ravel()
    after = np.linalg.norm(rows[:50, None] - rows[None, 50:100], axis=2).ravel()
    assert np.corrcoef(before, after)[0, 1] > 0.95


def clouds(classes):
    rng = np.random.default_rng(classes)
    labels = rng.permutation(np.repeat(np.arange(classes), rng.integers(15, 60, classes)))
    return rng.normal(labels[:, None] / 2, 1.0, (len(labels), 6)).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_it_answers_as_libsvm_does(classes, monkeypatch):
    monkeypatch.setattr(kernel, "BLOCK_VALUES", 500)
    rows, labels = clouds(classes)
    unseen = np.random.default_rng(9).normal(1.0, 1.5, (300, 6)).astype(np.float32)
    quick = PairwiseSVC(C=3.0, gamma=0.2).fit(rows, labels)
    plain = SVC(C=3.0, gamma=0.2, decision_function_shape="ovo").fit(rows, labels)
    np.testing.assert_allclose(
        quick.decision_function(unseen), plain.decision_function(unseen), rtol=1e-9, atol=1e-9
    )


def test_labels_need_not_count_from_zero():
    rows, labels = clouds(3)
    names = np.array([4, 1, 9])[labels]
    quick = PairwiseSVC(gamma=0.2).fit(rows, names)
    plain = SVC(gamma=0.2, decision_function_shape="ovo").fit(rows, names)
    assert quick.classes_.tolist() == [1, 4, 9]
    np.testing.assert_allclose(quick.decision_function(rows), plain.decision_function(rows), atol=1e-9)


def test_clone_keeps_its_settings():
    assert clone(PairwiseSVC(2.0, 0.3, cache_size=50)).get_params() == {
        "C": 2.0,
        "gamma": 0.3,
        "tol": 1e-3,
        "cache_size": 50,
    }


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 60))
    return np.clip(rng.normal(size=(200, 5)) @ mixing * 10 + 128, 0, 255).astype(np.uint8)


def test_components_are_centred_projections_by_an_independent_decomposition(pixels):
    found = Components(5).fit(pixels).transform(pixels)
    centred = pixels - pixels.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:5].T
    expected /= np.sqrt(np.mean(expected**2))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-3)


def test_distances_are_kept_up_to_one_factor(pixels):
    model = Components(60).fit(pixels)
    found = model.transform(pixels)
    before = np.linalg.norm(pixels[:20, None].astype(float) - pixels[None, 20:40], axis=2)
    after = np.linalg.norm(found[:20, None] - found[None, 20:40], axis=2)
    np.testing.assert_allclose(after * model.scale_, before, rtol=1e-3)


def test_fewer_rows_or_columns_make_fewer_components(pixels):
    assert Components(64).fit(pixels[:10]).transform(pixels).shape == (200, 10)
    assert Components(64).fit(pixels[:, :7]).transform(pixels[:, :7]).shape == (200, 7)


# Nothing varies, so that the explained share of the variance is 0 / 0 inside PCA.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_flat_pictures_do_not_divide_by_nothing():
    found = Components(3).fit_transform(np.full((10, 12), 7, np.uint8))
    assert np.isfinite(found).all()


def test_smote_before_and_after_lies_on_the_same_lines(pixels):
    """The projection is affine: a row between two rows stays between them, at the same place."""
    model = Components(5).fit(pixels)
    first, second = pixels[0].astype(np.float32), pixels[1].astype(np.float32)
    between = model.transform((first + 0.3 * (second - first))[None])
    ends = model.transform(np.stack([first, second]))
    np.testing.assert_allclose(between[0], ends[0] + 0.3 * (ends[1] - ends[0]), atol=1e-4)


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
    monkeypatch.setattr("skinmnist.models.classic.TREE_ROWS", 30)
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


def test_weights_are_the_chances_of_rows_and_copies_of_one_row_do_not_fill_a_leaf(task):
    rows, labels = task
    weights = np.where(labels == 2, 6, 1)
    weighted = EvenForest(random_state=3).fit(rows, labels, sample_weight=weights)
    drawn = np.mean([tree.tree_.value[0, 0] for tree in weighted.estimators_], axis=0)
    np.testing.assert_allclose(drawn, np.bincount(labels, weights) / weights.sum(), atol=0.02)
    copied = EvenForest(100, random_state=3).fit(np.repeat(rows, weights, axis=0), np.repeat(labels, weights))
    leaves, of_copies = (
        np.mean([tree.get_n_leaves() for tree in forest.estimators_]) for forest in (weighted, copied)
    )
    assert leaves < of_copies


def test_rounded_numbers_are_what_the_trees_see(task):
    rounded = EvenForest(levels=4, random_state=3).fit(*task)
    plain = EvenForest(random_state=3).fit(np.rint(task[0].astype(np.float32) * 4), task[1])
    unseen = np.random.default_rng(1).normal(1.0, 1.0, (50, 4)).astype(np.float32)
    np.testing.assert_array_equal(rounded.predict_proba(unseen), plain.predict_proba(np.rint(unseen * 4)))
    np.testing.assert_array_equal(
        rounded.predict(unseen), rounded.predict_proba(unseen).argmax(axis=1), "decisions follow as well"
    )


def test_only_a_forest_that_may_overwrite_its_rows_does(task):
    rows, labels = task[0].astype(np.float32), task[1]
    given = rows.copy()
    copying = EvenForest(levels=4, random_state=3).fit(given, labels)
    np.testing.assert_array_equal(given, rows)
    overwriting = EvenForest(levels=4, random_state=3, copy_X=False).fit(given, labels)
    np.testing.assert_array_equal(given, np.rint(rows * 4))
    np.testing.assert_array_equal(overwriting.predict_proba(rows), copying.predict_proba(rows))


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


@pytest.fixture
def numbers():
    """Rows of features with few and with many values, labels, and weights."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=(400, 3)), rng.integers(0, 4, 400), rng.exponential(size=400)])
    rows = rows.astype(np.float32)
    labels = (rows[:, 0] + rows[:, 4] + rng.normal(size=400) > 1).astype(int) + (rows[:, 3] > 2)
    return rows, labels, rng.uniform(0.2, 5, 400)


BOOSTING = {"max_iter": 4, "max_bins": 16, "early_stopping": False, "random_state": 0}


@pytest.mark.parametrize("weighted", [False, True])
def test_boosted_trees_are_those_of_rounded_rows_and_rows_to_predict_need_no_rounding(numbers, weighted):
    rows, labels, weights = numbers
    weights = weights if weighted else None
    rounded = round_to_values(rows, weights, 16) if weighted else rows
    found = BoostedTrees(**BOOSTING).fit(rows, labels, weights)
    expected = HistGradientBoostingClassifier(**BOOSTING).fit(rounded, labels, weights)
    np.testing.assert_array_equal(found.predict_proba(rows), expected.predict_proba(rounded))
    unseen = np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32)
    np.testing.assert_array_equal(found.predict_proba(unseen), expected.predict_proba(unseen))


@pytest.mark.parametrize("most", [2, 16, 100])
def test_features_are_rounded_to_the_nearest_of_their_values(numbers, most):
    rows, _, weights = numbers
    for before, after in zip(rows.T, round_to_values(rows, weights, most).T, strict=True):
        levels = np.unique(after)
        assert set(levels) <= set(before)
        assert len(levels) <= most
        if len(np.unique(before)) <= most:
            np.testing.assert_array_equal(after, before)
        nearest = np.abs(before[:, None].astype(float) - levels).min(axis=1)
        np.testing.assert_array_equal(np.abs(before - after), nearest)


def test_weights_are_copies_when_features_are_rounded(numbers):
    rows, _, weights = numbers
    times = np.ceil(weights).astype(int)
    copies = np.arange(len(rows)).repeat(times)
    by_copies = round_to_values(rows[copies], np.ones(len(copies)), 16)
    np.testing.assert_array_equal(by_copies, round_to_values(rows, times, 16)[copies])
