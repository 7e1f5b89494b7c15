"""The losses, against a few lines of NumPy."""

import numpy as np
import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn.backend import tf
from skinmnist.models.cnn.objective import make_loss

COUNTS = np.array([90, 9, 1])
LABELS = np.array([0, 2, 1, 2])
LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def loss_of(name, label_smoothing=0.0):
    return make_loss(name, COUNTS, label_smoothing)(
        tf.constant(LABELS, tf.int32), tf.constant(LOGITS)
    ).numpy()


def test_cross_entropy():
    np.testing.assert_allclose(loss_of("cross_entropy"), -log_softmax(LOGITS)[range(4), LABELS], rtol=1e-5)


def test_label_smoothing_mixes_in_all_classes_evenly():
    logs = log_softmax(LOGITS)
    expected = -0.7 * logs[range(4), LABELS] - 0.3 * logs.mean(axis=1)
    np.testing.assert_allclose(loss_of("cross_entropy", 0.3), expected, rtol=1e-5)


def test_focal_loss_fades_with_the_square_of_certainty():
    logs = log_softmax(LOGITS)[range(4), LABELS]
    np.testing.assert_allclose(loss_of("focal"), -((1 - np.exp(logs)) ** 2) * logs, rtol=1e-5)


def test_logit_adjustment_adds_the_logarithm_of_the_frequencies():
    expected = -log_softmax(LOGITS + np.log(COUNTS / 100))[range(4), LABELS]
    np.testing.assert_allclose(loss_of("logit_adjusted"), expected, rtol=1e-5)


def test_an_unknown_loss_is_refused():
    with pytest.raises(InputError, match="'hinge'; choose one of cross_entropy, focal, logit_adjusted"):
        make_loss("hinge", COUNTS, 0.0)
