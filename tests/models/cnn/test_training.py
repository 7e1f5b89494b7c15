"""Training: batches, losses and patience against independent computations; what a fit leaves behind."""

import gc
import threading
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn import training
from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.classifier import CNNClassifier
from skinmnist.models.cnn.network import Architecture, ChannelStatistics, symmetric_view
from skinmnist.models.cnn.training import (
    Monitor,
    change_colours,
    draw_batches,
    move_pixels,
    one_cycle,
)

CODES = np.repeat([0, 1, 2], [810, 90, 10])


def test_batches_are_shuffled_passes_without_repeats():
    order = draw_batches(np.zeros(10, int), 7, 4, None, np.random.default_rng(0)).ravel()
    assert order.shape == (28,)
    assert order.dtype == np.int32
    for start in (0, 10):
        assert sorted(order[start : start + 10]) == list(range(10))
    assert len(set(order[20:])) == 8
    assert list(order[:10]) != list(range(10))


@pytest.mark.parametrize(
    ("balance", "shares"),
    [
        (None, [81, 9, 1]),
        ("sqrt_batches", [9, 3, 1]),
        ("balanced_batches", [1, 1, 1]),
        ("balanced_batches@0.75", [3, 3**0.5, 1]),
    ],
)
def test_balance_sets_the_shares_of_the_classes(balance, shares):
    order = draw_batches(CODES, 200, 64, balance, np.random.default_rng(0))
    assert order.shape == (200, 64)
    shares_found = np.bincount(CODES[order.ravel()]) / order.size
    np.testing.assert_allclose(shares_found, np.array(shares) / sum(shares), atol=0.015)


def test_balanced_batches_use_the_rows_of_a_class_equally_often():
    order = draw_batches(CODES, 100, 60, "balanced_batches", np.random.default_rng(0)).ravel()
    for code in range(3):
        times = np.bincount(order, minlength=len(CODES))[code == CODES]
        assert times.max() - times.min() <= 1


def test_an_unknown_balance_is_refused():
    with pytest.raises(InputError, match="'sqrt_batches' or 'balanced_batches', or a share of it"):
        draw_batches(CODES, 1, 1, "none", np.random.default_rng(0))


def test_learning_rate_rises_and_falls_once():
    rates = one_cycle(100)
    peak = rates.argmax()
    assert rates.shape == (100,)
    assert 5 <= peak <= 15
    assert 0.9 < rates[peak] <= 1
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) <= 0).all()
    assert 0 < rates[-1] < 0.01


EIGHT = (8, 8, 3)
LONGER = {"steps": 60, "points": 20, "batch_size": 16, "channels": (8,), "pairs": (0,), "learning_rate": 0.02}


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
        monitor.update(loss)
        rates.append(monitor.rate)
        if monitor.stop:
            break
    assert rates == followed_by_keras(losses, rate_patience, stop_patience)


def test_without_patience_nothing_changes():
    monitor = Monitor(None, None)
    for loss in (1.0, 2.0, 3.0, 4.0):
        monitor.update(loss)
    assert (monitor.rate, monitor.stop, monitor.improved) == (1.0, False, False)


@pytest.fixture(scope="module")
def split_rows():
    """Pixels whose brightness tells the class, and labels; the second half serves for validation."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    pixels = rng.normal(40 + 80 * labels[:, None], 30.0, (120, 192)).clip(0, 255).astype(np.uint8)
    return pixels, labels


def test_a_network_that_learns_nothing_for_others_stops_and_keeps_its_best(split_rows):
    pixels, labels = split_rows
    wrong = pixels[60:], (labels[60:] + 1) % 3
    model = CNNClassifier(EIGHT, **LONGER, rate_patience=2, stop_patience=4, views=1)
    history = model.fit(pixels[:60], labels[:60], validation_data=wrong).history_
    losses = history["validation_loss"]
    assert len(losses) == int(np.argmin(losses)) + 1 + 4 < 20
    assert history["learning_rate"][-1] < history["learning_rate"][3]
    chances = model.predict_proba(wrong[0])[np.arange(60), wrong[1]]
    assert -np.log(chances).mean() == pytest.approx(min(losses), rel=1e-4)


def test_validation_rows_are_not_trained_on(split_rows):
    pixels, labels = split_rows
    histories = [
        CNNClassifier(EIGHT, **LONGER).fit(pixels[:60], labels[:60], validation_data=data).history_["loss"]
        for data in (None, (pixels[60:], labels[60:]), (pixels[60:], labels[60:][::-1]))
    ]
    assert histories[0] == histories[1] == histories[2]


def test_a_patience_needs_a_validation_set(split_rows):
    with pytest.raises(InputError, match="a patience but no validation set"):
        CNNClassifier(EIGHT, **LONGER, stop_patience=3).fit(*split_rows)


def test_a_loss_that_is_no_number_is_an_error_and_no_result(split_rows):
    pixels, labels = split_rows
    model = CNNClassifier(EIGHT, **{**LONGER, "learning_rate": 1e30}, kernel_rate=None)
    for data in (None, (pixels[60:], labels[60:])):
        with pytest.raises(FloatingPointError, match="lower the learning rates"):
            model.fit(pixels[:60], labels[:60], validation_data=data)


def test_validation_classes_weigh_what_they_weigh_in_training(split_rows):
    pixels, labels = split_rows
    few = np.flatnonzero((labels > 0) | (np.arange(len(labels)) < 30))
    losses = {}
    for balance in (None, "balanced_batches"):
        model = CNNClassifier(EIGHT, **{**LONGER, "points": 1}, balance=balance, views=1)
        model.fit(pixels[few], labels[few], validation_data=(pixels, labels))
        each = -np.log(model.predict_proba(pixels)[np.arange(len(labels)), labels])
        by_class = np.array([each[labels == code].mean() for code in range(3)])
        mix = np.bincount(labels[few]) / len(few) if balance is None else np.full(3, 1 / 3)
        losses[balance] = model.history_["validation_loss"][0], by_class @ mix
    for found, wanted in losses.values():
        assert found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.full(60, 7)])
def test_validation_labels_must_fit(split_rows, labels):
    pixels, true_labels = split_rows
    with pytest.raises(InputError, match="validation labels of shape"):
        CNNClassifier(EIGHT, **LONGER).fit(
            pixels[:60], true_labels[:60], validation_data=(pixels[60:], labels)
        )


SHAPE = (12, 12, 3)
SMALL = {"steps": 4, "batch_size": 16, "channels": (8,), "pairs": (1,), "views": 2}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    return rng.normal(40 + 60 * labels[:, None], 50.0, (120, 432)).clip(0, 255).astype(np.uint8), labels


def fit(rows, start=0, **settings):
    return CNNClassifier(SHAPE, **{**SMALL, **settings}).fit(rows[0][start:], rows[1][start:])


def newly(make, monkeypatch):
    """What is made where no network waits."""
    with monkeypatch.context() as alone:
        alone.setattr(training, "_waiting", {})
        return make()


@pytest.mark.parametrize(
    "settings",
    [{}, {"loss": "logit_adjusted"}, {"loss": "ldam_drw"}, {"mixture": "remix", "feature_layers": (6,)}],
    ids=str,
)
def test_a_fit_after_others_is_that_of_a_new_network_bit_for_bit(rows, settings, monkeypatch):
    alone = newly(lambda: fit(rows, random_state=3, **settings), monkeypatch)
    fit(rows, start=50, random_state=1, **settings)
    fit(rows, start=7)
    again = fit(rows, random_state=3, **settings)
    assert again.history_ == alone.history_
    for one, other in zip(again.weights_, alone.weights_, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.predict_proba(rows[0]), alone.predict_proba(rows[0]))


def test_a_model_answers_the_same_after_another_was_trained(rows):
    first = fit(rows)
    before = first.predict_proba(rows[0])
    second = fit(rows, start=40, random_state=9)
    assert not np.array_equal(second.predict_proba(rows[0]), before)
    np.testing.assert_array_equal(first.predict_proba(rows[0]), before)


def test_fits_side_by_side_do_not_meet(rows, monkeypatch):
    alone = [newly(lambda seed=seed: fit(rows, random_state=seed), monkeypatch) for seed in (0, 1)]
    found = {}
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: fit(rows, random_state=seed)}))
        for seed in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (0, 1):
        np.testing.assert_array_equal(found[seed].weights_[0], alone[seed].weights_[0])


def test_one_architecture_is_traced_once(rows, monkeypatch):
    monkeypatch.setattr(training, "_waiting", {})
    traced = []
    one_step = training.CompiledTraining.one_step

    def counted(self, *arguments):
        traced.append(self)
        return one_step(self, *arguments)

    monkeypatch.setattr(training.CompiledTraining, "one_step", counted)
    fit(rows)
    resolutions = len(traced)
    fit(rows, start=30, random_state=2, steps=14, balance="sqrt_batches")
    fit(rows, loss="class_balanced")
    assert len(traced) == resolutions
    fit(rows, loss="focal")
    assert len(traced) == 2 * resolutions
    for start in (0, 30):
        fit(rows, start=start, loss="logit_adjusted")
    assert len(traced) == 3 * resolutions


def test_few_networks_wait(monkeypatch):
    waiting = {}
    monkeypatch.setattr(training, "_waiting", waiting)
    for n_classes in (2, 3, 4, 5):
        with training.borrow(Architecture(SHAPE, n_classes, (8,), (0,))):
            pass
    assert [architecture.n_classes for architecture in waiting] == [4, 5]


def test_a_network_whose_fit_failed_does_not_wait(rows, monkeypatch):
    waiting = {}
    monkeypatch.setattr(training, "_waiting", waiting)
    with pytest.raises(FloatingPointError, match="loss"):
        fit(rows, learning_rate=1e30, kernel_rate=None)
    assert not waiting


def test_many_fits_in_one_process_do_not_pile_up():
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (5000, 32 * 32 * 3), dtype=np.uint8), np.arange(5000) % 3
    model = CNNClassifier((32, 32, 3), steps=1, batch_size=4, channels=(8,), pairs=(1,), coarse_share=0.0)
    memory = []
    for _ in range(5):
        model.fit(pixels, labels)
        gc.collect()
        memory.append(psutil.Process().memory_info().rss / 2**20)
    table = pixels.nbytes / 2**20
    assert memory[-1] - memory[1] < 2 * table, f"three fits of {table:.0f} MB left {memory} MB behind"


def test_moving_without_shift_gives_symmetric_views_only():
    pictures = np.random.default_rng(0).integers(0, 256, (1, 5, 5, 3), dtype=np.uint8)
    allowed = {symmetric_view(tf.constant(pictures), view).numpy()[0].tobytes() for view in range(8)}
    moved = move_pixels(tf.constant(np.repeat(pictures, 200, axis=0)), tf.constant([1, 2]), 0).numpy()
    assert moved.dtype == np.uint8
    assert {picture.tobytes() for picture in moved} == allowed


def test_shifts_are_filled_by_reflection():
    row = np.arange(10, dtype=np.uint8)
    pictures = np.repeat(row.reshape(1, 1, 10, 1), 300, axis=0)
    moved = move_pixels(tf.constant(pictures), tf.constant([3, 4]), 2).numpy()[:, 0, :, 0]
    padded = np.pad(row, 2, mode="reflect")
    expected = {padded[s : s + 10].tobytes() for s in range(5)} | {
        padded[::-1][s : s + 10].tobytes() for s in range(5)
    }
    assert {line.tobytes() for line in moved} == expected


def test_oblong_pictures_keep_their_shape():
    pictures = np.random.default_rng(0).integers(0, 256, (50, 4, 6, 3), dtype=np.uint8)
    moved = move_pixels(tf.constant(pictures), tf.constant([0, 0]), 0).numpy()
    assert moved.shape == pictures.shape
    np.testing.assert_array_equal(np.sort(moved.reshape(50, -1)), np.sort(pictures.reshape(50, -1)))


PLAIN = ChannelStatistics(np.zeros(3, np.float32), np.ones(3, np.float32))


def test_colour_changes_have_the_spread_asked_for():
    changed = change_colours(tf.zeros((4000, 1, 1, 3)), PLAIN, tf.constant([5, 6]), 0.2).numpy()
    assert changed.std() == pytest.approx(0.2, rel=0.05)
    assert changed.mean() == pytest.approx(0.0, abs=0.01)
    assert abs(np.corrcoef(changed[:, 0, 0, 0], changed[:, 0, 0, 1])[0, 1]) < 0.05


def test_a_gain_and_an_offset_hold_for_all_of_a_channel_of_a_picture():
    pictures = np.random.default_rng(0).normal(size=(4, 5, 7, 3)).astype(np.float32)
    seed = tf.constant([5, 6])
    offset = change_colours(tf.zeros((4, 1, 1, 3)), PLAIN, seed, 0.2).numpy()
    gain = change_colours(tf.ones((4, 1, 1, 3)), PLAIN, seed, 0.2).numpy() - offset
    changed = change_colours(tf.constant(pictures), PLAIN, seed, 0.2).numpy()
    np.testing.assert_allclose(changed, pictures * gain + offset, atol=1e-6)


def test_without_spread_pictures_are_only_standardised():
    pictures = np.random.default_rng(0).integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    statistics = ChannelStatistics.of(pictures)
    ensemble = Architecture((5, 7, 3), 2).build(statistics, seed=0)
    plain = ensemble.standardise(tf.constant(pictures)).numpy()
    found = change_colours(tf.cast(pictures, tf.float32), statistics, tf.constant([5, 6]), 0.0).numpy()
    np.testing.assert_allclose(found, plain, atol=1e-5)


def test_draws_depend_on_the_seed_and_nothing_else():
    pictures = tf.constant(np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8))
    first, again = (move_pixels(pictures, tf.constant([1, 2]), 2).numpy() for _ in range(2))
    other = move_pixels(pictures, tf.constant([1, 3]), 2).numpy()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
