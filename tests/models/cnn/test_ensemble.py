"""Two networks that answer for one picture."""

import pickle

import numpy as np
import pytest

from skinmnist.models.cnn.augmentation import symmetric_view
from skinmnist.models.cnn.backend import tf
from skinmnist.models.cnn.classifier import CNNClassifier, ensemble

SHAPE = (12, 12, 3)
SMALL = {"steps": 12, "batch_size": 16, "channels": (8,), "pairs": (0,), "views": 1, "coarse_share": 0.0}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    pixels = rng.normal(40 + 80 * labels[:, None], 40.0, (90, 432)).clip(0, 255).astype(np.uint8)
    return pixels, labels


@pytest.fixture(scope="module")
def both(rows):
    return CNNClassifier(SHAPE, **SMALL, feature_extractor=(10,)).fit(*rows)


def answers(model, pixels, share):
    """Answers at another weight of the second network."""
    other = pickle.loads(pickle.dumps(model)).set_params(feature_share=share)
    return other.predict_proba(pixels)


def test_the_answer_is_the_weighted_mean_of_the_networks_log_probabilities(rows, both):
    first, second, mean = (np.log(answers(both, rows[0], share)) for share in (0.0, 1.0, 0.3))
    mixed = 0.7 * first + 0.3 * second
    np.testing.assert_allclose(mean, mixed - np.log(np.exp(mixed).sum(axis=1, keepdims=True)), atol=1e-4)
    assert np.abs(first - second).max() > 0.01


def test_the_second_network_does_not_see_how_a_picture_is_turned(rows, both):
    pictures = rows[0].reshape(-1, *SHAPE)
    turned = np.rot90(pictures, axes=(1, 2)).reshape(len(pictures), -1)
    np.testing.assert_allclose(answers(both, turned, 1.0), answers(both, rows[0], 1.0), atol=1e-4)
    assert np.abs(answers(both, turned, 0.0) - answers(both, rows[0], 0.0)).max() > 1e-3


@pytest.mark.parametrize("views", [4, 8])
def test_an_answer_is_the_mean_of_those_for_each_view(rows, both, views):
    pictures = tf.constant(rows[0].reshape(-1, *SHAPE))
    numbers = tf.constant(both._numbers(pictures.numpy()))
    ensemble = both.trained_members()
    one_view = ensemble.compile_answer(1)
    singles = [one_view(symmetric_view(pictures, view), numbers) for view in range(views)]
    mean = tf.add_n(singles) / views
    np.testing.assert_allclose(ensemble.compile_answer(views)(pictures, numbers), mean, atol=1e-5)
    assert np.abs(mean - singles[0]).max() > 1e-3


def test_both_networks_learn(rows):
    model = CNNClassifier(SHAPE, **{**SMALL, "steps": 80}, feature_extractor=(16,)).fit(*rows)
    for share in (0.0, 1.0):
        assert (answers(model, rows[0], share).argmax(axis=1) == rows[1]).mean() > 0.8


def test_pickled_and_brought_back_it_answers_the_same(rows, both):
    again = pickle.loads(pickle.dumps(both))
    np.testing.assert_array_equal(again.predict_proba(rows[0]), both.predict_proba(rows[0]))


def test_channels_are_measured_as_numpy_does(monkeypatch):
    pictures = np.random.default_rng(0).integers(0, 256, (41, 5, 4, 3), dtype=np.uint8)
    pictures[..., 1] //= 40
    pictures[..., 2] = 255
    monkeypatch.setattr(ensemble, "MEASURED_ROWS", 7)
    found = ensemble.ChannelStatistics.of(pictures)
    assert found.centre.dtype == found.spread.dtype == np.float32
    np.testing.assert_array_equal(found.centre, pictures.mean(axis=(0, 1, 2)).astype(np.float32))
    np.testing.assert_allclose(found.spread[:2], pictures[..., :2].std(axis=(0, 1, 2)), rtol=1e-6)
    assert found.spread[2] == 1.0, "a channel that does not vary"
