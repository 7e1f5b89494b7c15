import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.svm import SVC

from skinmnist.experiment.grid import resolve_samplers
from skinmnist.experiment.inputs import TrainingRows, resample_rows
from skinmnist.experiment.training import calibrate
from skinmnist.models.spec import ModelSpec


def clouds(counts, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    return rng.normal(labels[:, None] * 1.0, 1.0, (len(labels), 3)), labels


def plain(rows, labels, seen=None):
    def draw(chosen):
        if seen is not None:
            seen.append(chosen)
        return TrainingRows(rows[chosen], labels[chosen], None, len(chosen))

    return draw


def svc():
    return SVC(decision_function_shape="ovo")


def test_probabilities_are_near_those_of_the_true_model():
    """Three clouds of one shape: logistic regression is their true model."""
    rows, labels = clouds([300, 200, 100])
    mix = np.array([300.0, 200, 100])
    calibration = calibrate(svc, plain(rows, labels), rows, labels, None, mix, 0)
    unseen, true = clouds([300, 200, 100], seed=1)
    found = calibration.predict_proba(svc().fit(rows, labels).decision_function(unseen))
    best = log_loss(true, LogisticRegression().fit(rows, labels).predict_proba(unseen))
    assert log_loss(true, found) < best + 0.05
    np.testing.assert_allclose(found.mean(axis=0), [3 / 6, 2 / 6, 1 / 6], atol=0.05)


def test_probabilities_answer_to_the_mix_that_the_sampler_made():
    rows, labels = clouds([300, 200, 100])
    even = calibrate(svc, plain(rows, labels), rows, labels, None, np.array([300.0, 300, 300]), 0)
    own = calibrate(svc, plain(rows, labels), rows, labels, None, np.array([300.0, 200, 100]), 0)
    decisions = svc().fit(rows, labels).decision_function(rows)
    assert even.predict_proba(decisions)[:, 2].mean() > own.predict_proba(decisions)[:, 2].mean() + 0.05


def test_lesions_are_left_out_whole():
    rows, labels = clouds([40, 40])
    lesions = np.array([f"l{i // 4}" for i in range(80)])
    seen = []
    calibrate(svc, plain(rows, labels, seen), rows, labels, lesions, np.array([40.0, 40]), 0)
    assert len(seen) == 2
    for inner in seen:
        outer = np.setdiff1d(np.arange(80), inner)
        assert not set(lesions[inner]) & set(lesions[outer])
    held_out = np.concatenate([np.setdiff1d(np.arange(80), inner) for inner in seen])
    assert sorted(held_out) == list(range(80))


def test_a_class_of_one_lesion_cannot_be_calibrated():
    rows, labels = clouds([20, 4])
    lesions = np.array([f"l{i}" for i in range(20)] + ["m"] * 4)
    with pytest.raises(ValueError, match="a class has fewer than two"):
        calibrate(svc, plain(rows, labels), rows, labels, lesions, np.array([20.0, 4]), 0)


def test_smote_leaves_a_class_alone_of_which_a_half_holds_one_row():
    rows, labels = clouds([40, 2, 12])
    spec = ModelSpec("", lambda setting: svc())

    smote = resolve_samplers(["SMOTE"])["SMOTE"]

    def resampled(chosen):
        return resample_rows(smote, rows[chosen], labels[chosen], spec)

    calibration = calibrate(svc, resampled, rows, labels, None, np.array([40.0, 40, 40]), 0)
    assert calibration.classes_.tolist() == [0, 1, 2]
