"""Copies are weights: the two ways of training on oversampled rows are the same problem."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from skinmnist.evaluation.training_rows import balanced_weights, draw_training_rows, thin
from skinmnist.models import MODELS
from skinmnist.models.spec import ModelSpec, Setting
from skinmnist.resampling.samplers import make_sampler


def sampler(name):
    return lambda seed: make_sampler(name, seed)


def spec(**fields):
    return ModelSpec(title="", classifier=lambda setting: None, **fields)


@pytest.fixture
def fold():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [90, 25, 10])
    return rng.normal(labels[:, None], 1.0, (125, 5)), labels


def draw(fold, name, **fields):
    remedy = name in ("none", "class_weight")
    return draw_training_rows(name, None if remedy else sampler(name), 3, *fold, spec(**fields))


def test_none_changes_nothing(fold):
    drawn = draw(fold, "none")
    assert drawn.rows is fold[0]
    assert drawn.weights is None
    assert drawn.class_mix(3).tolist() == [90, 25, 10]


@pytest.mark.parametrize("name", ["RandomOverSampler", "RandomUnderSampler"])
def test_weights_count_the_copies(fold, name):
    copied, weighted = draw(fold, name), draw(fold, name, copies_as_weights=True)
    assert copied.made == weighted.made == len(copied.rows)
    np.testing.assert_array_equal(copied.class_mix(3), weighted.class_mix(3))
    unpacked = np.repeat(weighted.rows, weighted.weights.astype(int), axis=0)
    np.testing.assert_array_equal(np.sort(unpacked, axis=0), np.sort(copied.rows, axis=0))


@pytest.mark.parametrize(
    "classifier",
    [SVC(C=2.0, gamma=0.3, tol=1e-8), LogisticRegression(tol=1e-10, max_iter=5000)],
    ids=lambda c: type(c).__name__,
)
def test_copies_and_weights_train_the_same_classifier(fold, classifier):
    decisions = []
    for as_weights in (False, True):
        draw(fold, "RandomOverSampler", copies_as_weights=as_weights).train(classifier)
        decisions.append(classifier.decision_function(fold[0]))
    np.testing.assert_allclose(decisions[0], decisions[1], atol=1e-4)


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if spec.copies_as_weights])
def test_registered_models_that_say_so_are_the_same_with_copies_and_weights(name, lesions):
    setting = Setting(lesions.shape, 7, len(lesions), 0)
    rows = MODELS[name].features(setting).fit_transform(lesions.pixels).astype(np.float64)
    decisions = []
    for as_weights in (False, True):
        classifier = MODELS[name].classifier(setting).set_params(tol=1e-8)
        draw((rows, lesions.labels), "RandomOverSampler", copies_as_weights=as_weights).train(classifier)
        decisions.append(classifier.decision_function(rows))
    np.testing.assert_allclose(decisions[0], decisions[1], atol=2e-3)


def test_balanced_weights_even_the_classes_out(fold):
    drawn = draw(fold, "class_weight")
    np.testing.assert_allclose(drawn.class_mix(3), 125 / 3)
    assert balanced_weights(fold[1]).mean() == pytest.approx(1)


def test_made_pixels_are_rounded_for_models_of_bytes():
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (60, 12)).astype(np.uint8), np.repeat([0, 1], [50, 10])
    as_bytes = draw((pixels, labels), "SMOTE", pixel_type="uint8")
    as_floats = draw((pixels, labels), "SMOTE", pixel_type="float32")
    assert as_bytes.rows.dtype == np.uint8
    np.testing.assert_array_equal(as_bytes.rows, np.rint(as_floats.rows))


def test_few_enough_rows_stay_as_they_are(fold):
    drawn = draw(fold, "none")
    assert thin(drawn, None, 0) is drawn
    assert thin(drawn, 115, 0) is drawn, "90 and 25 rows have the largest two"


def test_too_many_rows_are_drawn_class_by_class_and_announced(fold):
    drawn = draw(fold, "SMOTE")
    thinned = thin(drawn, 60, 0)
    assert np.bincount(thinned.labels).tolist() == [30, 30, 30]
    assert len(np.unique(thinned.rows, axis=0)) == 90
    assert set(map(tuple, thinned.rows)) <= set(map(tuple, drawn.rows))
    assert thinned.made == 270
    (note,) = thinned.notes
    assert "90 of the 270 training rows" in note
    assert not np.array_equal(thinned.rows, thin(drawn, 60, 1).rows)
    np.testing.assert_array_equal(thinned.rows, thin(drawn, 60, 0).rows)


def test_rows_that_weigh_much_stay_and_classes_keep_their_weight(fold):
    thinned = thin(draw(fold, "class_weight"), 69, 0)
    assert np.bincount(thinned.labels).tolist() == [40, 25, 10]
    np.testing.assert_allclose(thinned.class_mix(3), 75 / 3)
