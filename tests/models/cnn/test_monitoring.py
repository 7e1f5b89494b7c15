"""Watching: patience as Keras counts it, and what a network does with rows that it watches."""

from types import SimpleNamespace

import numpy as np
import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn.backend import keras
from skinmnist.models.cnn.classifier import CNNClassifier
from skinmnist.models.cnn.monitoring import Monitor

SHAPE = (8, 8, 3)
SMALL = {"steps": 60, "points": 20, "batch_size": 16, "channels": (8,), "pairs": (0,), "learning_rate": 0.02}


def followed_by_keras(losses, rate_patience, stop_patience):
    """Rates after each check and the check at which to stop, by Keras' own callbacks."""
    model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=1.0), stop_training=False)
    callbacks = [
        keras.callbacks.ReduceLROnPlateau(patience=rate_patience, factor=0.5, min_delta=0.0),
        keras.callbacks.EarlyStopping(patience=stop_patience),
    ]
    rates = []
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    for check, loss in enumerate(losses):
        for callback in callbacks:
            callback.on_epoch_end(check, {"val_loss": loss})
        rates.append(float(model.optimizer.learning_rate))
        if model.stop_training:
            break
    return rates


@pytest.mark.parametrize("seed", range(20))
def test_patience_is_that_of_keras(seed):
    rng = np.random.default_rng(seed)
    losses = (rng.normal(size=40).cumsum() * 0.1 - 0.02 * np.arange(40)).tolist()
    rate_patience, stop_patience = int(rng.integers(1, 4)), int(rng.integers(3, 9))
    monitor, rates = Monitor(rate_patience, stop_patience), []
    for loss in losses:
        monitor.see(loss)
        rates.append(monitor.rate)
        if monitor.stop:
            break
    assert rates == followed_by_keras(losses, rate_patience, stop_patience)


def test_without_patience_nothing_changes():
    monitor = Monitor(None, None)
    for loss in (1.0, 2.0, 3.0, 4.0):
        monitor.see(loss)
    assert (monitor.rate, monitor.stop, monitor.improved) == (1.0, False, False)


@pytest.fixture(scope="module")
def rows():
    """Pixels whose brightness tells the class, and labels; the second half is told wrongly."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    pixels = rng.normal(40 + 80 * labels[:, None], 30.0, (120, 192)).clip(0, 255).astype(np.uint8)
    return pixels, labels


def test_a_network_that_learns_nothing_for_others_stops_and_keeps_its_best(rows):
    pixels, labels = rows
    wrong = pixels[60:], (labels[60:] + 1) % 3
    model = CNNClassifier(SHAPE, **SMALL, rate_patience=2, stop_patience=4, views=1)
    history = model.fit(pixels[:60], labels[:60], watched=wrong).history_
    losses = history["watched_loss"]
    assert len(losses) == int(np.argmin(losses)) + 1 + 4 < 20
    assert history["learning_rate"][-1] < history["learning_rate"][3]
    chances = model.predict_proba(wrong[0])[np.arange(60), wrong[1]]
    assert -np.log(chances).mean() == pytest.approx(min(losses), rel=1e-4)


def test_watched_rows_are_not_trained_on(rows):
    pixels, labels = rows
    histories = [
        CNNClassifier(SHAPE, **SMALL).fit(pixels[:60], labels[:60], watched=watched).history_["loss"]
        for watched in (None, (pixels[60:], labels[60:]), (pixels[60:], labels[60:][::-1]))
    ]
    assert histories[0] == histories[1] == histories[2]


def test_a_patience_needs_rows_to_watch(rows):
    with pytest.raises(InputError, match="a patience but no rows to watch"):
        CNNClassifier(SHAPE, **SMALL, stop_patience=3).fit(*rows)


def test_a_loss_that_is_no_number_is_an_error_and_no_result(rows):
    pixels, labels = rows
    model = CNNClassifier(SHAPE, **{**SMALL, "learning_rate": 1e30}, kernel_rate=None)
    for watched in (None, (pixels[60:], labels[60:])):
        with pytest.raises(FloatingPointError, match="lower the learning rates"):
            model.fit(pixels[:60], labels[:60], watched=watched)


def test_watched_classes_weigh_what_they_weigh_in_training(rows):
    pixels, labels = rows
    few = np.flatnonzero((labels > 0) | (np.arange(len(labels)) < 30))
    losses = {}
    for balance in (None, "balanced_batches"):
        model = CNNClassifier(SHAPE, **{**SMALL, "points": 1}, balance=balance, views=1)
        model.fit(pixels[few], labels[few], watched=(pixels, labels))
        each = -np.log(model.predict_proba(pixels)[np.arange(len(labels)), labels])
        by_class = np.array([each[labels == code].mean() for code in range(3)])
        mix = np.bincount(labels[few]) / len(few) if balance is None else np.full(3, 1 / 3)
        losses[balance] = model.history_["watched_loss"][0], by_class @ mix
    for found, wanted in losses.values():
        assert found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.full(60, 7)])
def test_watched_labels_must_fit(rows, labels):
    pixels, true_labels = rows
    with pytest.raises(InputError, match="watched labels of shape"):
        CNNClassifier(SHAPE, **SMALL).fit(pixels[:60], true_labels[:60], watched=(pixels[60:], labels))
