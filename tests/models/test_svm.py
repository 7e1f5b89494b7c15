"""The SVM: its components, its width, copies as weights, and that it answers as libsvm does."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.svm import SVC

from skinmnist.inference import kernel
from skinmnist.models.registry import MODELS
from skinmnist.models.spec import Setting
from skinmnist.models.svm import Components, PairwiseSVC


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
