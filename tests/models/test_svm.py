import numpy as np
import pytest

from skinmnist.models.registry import MODELS
from skinmnist.models.spec import Setting


@pytest.fixture
def training(lesions):
    spec, setting = MODELS["svm"], Setting(lesions.shape, 7, 300, 0)
    numbers = spec.describe(lesions.pixels[:300], lesions.shape)
    return spec, setting, spec.features(setting).fit_transform(numbers), lesions.labels[:300]


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
    numbers = spec.describe(lesions.pixels[:300], lesions.shape)
    standard = MODELS["random_forest"].features(setting).fit_transform(numbers)
    before = np.linalg.norm(standard[:50, None] - standard[None, 50:100], axis=2).ravel()
    after = np.linalg.norm(rows[:50, None] - rows[None, 50:100], axis=2).ravel()
    assert np.corrcoef(before, after)[0, 1] > 0.95
