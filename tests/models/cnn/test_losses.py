"""Losses, weights of classes and mixed rows, against independent computations."""

from dataclasses import fields

import numpy as np
import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn import losses, training
from skinmnist.models.cnn.backend import tf
from skinmnist.models.cnn.classifier import CNNClassifier
from skinmnist.models.cnn.losses import class_terms, loss_weights, make_loss, mix, mixing_shares
from skinmnist.models.cnn.network import Architecture, ChannelStatistics

COUNTS = np.array([90, 9, 1])
LABELS = np.array([0, 2, 1, 2])
LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
ROWS = np.arange(4)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def loss_of(name, label_smoothing=0.0):
    loss = make_loss(name, tf.constant(class_terms(name, COUNTS)), label_smoothing)
    return loss(tf.constant(LABELS, tf.int32), tf.constant(LOGITS)).numpy()


@pytest.mark.parametrize("name", ["cross_entropy", "class_balanced"])
def test_cross_entropy(name):
    np.testing.assert_allclose(loss_of(name), -log_softmax(LOGITS)[ROWS, LABELS], rtol=1e-5)


def test_label_smoothing_mixes_in_all_classes_evenly():
    logs = log_softmax(LOGITS)
    expected = -0.7 * logs[ROWS, LABELS] - 0.3 * logs.mean(axis=1)
    np.testing.assert_allclose(loss_of("cross_entropy", 0.3), expected, rtol=1e-5)


def test_focal_loss_fades_with_the_square_of_certainty():
    logs = log_softmax(LOGITS)[ROWS, LABELS]
    np.testing.assert_allclose(loss_of("focal"), -((1 - np.exp(logs)) ** 2) * logs, rtol=1e-5)


def test_logit_adjustment_adds_the_logarithm_of_the_frequencies():
    expected = -log_softmax(LOGITS + np.log(COUNTS / 100))[ROWS, LABELS]
    np.testing.assert_allclose(loss_of("logit_adjusted"), expected, rtol=1e-5)


def test_margins_fall_with_the_fourth_root_of_the_class_count():
    moved = LOGITS.copy()
    for row, label in enumerate(LABELS):
        moved[row, label] -= losses.LARGEST_MARGIN * (1 / COUNTS[label]) ** (1 / 4)
    np.testing.assert_allclose(loss_of("ldam_drw"), -log_softmax(moved)[ROWS, LABELS], rtol=1e-5)


def test_label_aware_smoothing_spreads_more_of_frequent_classes(monkeypatch):
    monkeypatch.setattr(losses, "SMOOTHING", (0.4, 0.1))
    spread = [0.1 + 0.3 * np.sin(np.pi * (n - 1) / (2 * (90 - 1))) for n in COUNTS]
    expected = []
    for logs, label in zip(log_softmax(LOGITS), LABELS, strict=True):
        others = [spread[label] / 2 if code != label else 1 - spread[label] for code in range(3)]
        expected.append(-logs @ others)
    np.testing.assert_allclose(loss_of("label_aware", 0.3), expected, rtol=1e-5)


def test_equal_classes_are_treated_alike():
    for name in losses.LOSSES:
        assert len(set(class_terms(name, np.full(4, 7)))) == 1
        assert len(set(loss_weights(name, np.full(4, 7)))) == 1


def test_weights_are_the_inverse_of_the_effective_number_of_rows():
    for name, (_, beta) in losses.REWEIGHTED.items():
        effective = [sum(beta**i for i in range(n)) for n in COUNTS]  # A geometric series.
        np.testing.assert_allclose(loss_weights(name, COUNTS), 1 / np.array(effective), rtol=1e-9)
    np.testing.assert_array_equal(loss_weights("cross_entropy", COUNTS), 1)


def test_an_unknown_loss_is_refused():
    with pytest.raises(InputError, match="'hinge'; choose one of cross_entropy, focal, logit_adjusted"):
        make_loss("hinge", tf.zeros(3), 0.0)


def drawn_shares(mixture, pairs=4000):
    rng = np.random.default_rng(0)
    first, second = rng.choice(3, pairs), rng.choice(3, pairs)
    shares = mixing_shares(
        mixture, tf.constant(first), tf.constant(second), tf.constant(COUNTS, tf.float32), tf.constant([1, 2])
    )
    return first, second, *(share.numpy() for share in shares)


def test_mixup_draws_shares_from_a_beta_distribution():
    _, _, share, of_label = drawn_shares("mixup")
    np.testing.assert_array_equal(share, of_label)
    alpha = losses.MIXING
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(0.25 / (2 * alpha + 1), rel=0.05)


def test_remix_gives_the_label_to_the_rarer_class():
    first, second, share, of_label = drawn_shares("remix")
    np.testing.assert_array_equal(share, drawn_shares("mixup")[2])
    for one, other, own, found in zip(first, second, share, of_label, strict=True):
        expected = own
        if COUNTS[one] >= 3 * COUNTS[other] and own < 0.5:
            expected = 0.0
        if 3 * COUNTS[one] <= COUNTS[other] and 1 - own < 0.5:
            expected = 1.0
        assert found == expected


def test_rows_are_mixed_with_their_predecessors():
    values, share = np.arange(24, dtype=np.float32).reshape(4, 3, 2), np.array([1, 0, 0.5, 0.25], np.float32)
    expected = [s * values[i] + (1 - s) * values[i - 1] for i, s in enumerate(share)]
    np.testing.assert_allclose(mix(tf.constant(values), tf.constant(share)).numpy(), expected, rtol=1e-6)
    assert mix(tf.zeros((4, 0)), tf.constant(share)).shape == (4, 0)


SETTINGS = {"steps": 10, "points": 10, "batch_size": 32, "channels": (8,), "pairs": (0,), "views": 1}


@pytest.fixture(scope="module")
def rows():
    """Pixels whose brightness tells the class, and labels of three classes of 90, 21 and 9 rows."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1, 2], [90, 21, 9])
    return rng.normal(40 + 60 * labels[:, None], 50.0, (120, 192)).clip(0, 255).astype(np.uint8), labels


def fit(rows, weights=None, **settings):
    return CNNClassifier((8, 8, 3), **{**SETTINGS, **settings}).fit(*rows, sample_weight=weights)


def test_class_balanced_loss_is_cross_entropy_with_weights(rows):
    of_rows = (1 / (1 - 0.999 ** np.bincount(rows[1])))[rows[1]]
    alone, weighted = fit(rows, loss="class_balanced"), fit(rows, of_rows)
    np.testing.assert_allclose(alone.history_["loss"], weighted.history_["loss"], rtol=1e-5)


def test_weights_are_deferred_to_the_last_fifth(rows, monkeypatch):
    found = fit(rows, loss="ldam_drw").history_["loss"]
    monkeypatch.setattr(training, "loss_weights", lambda loss, counts: np.ones(len(counts)))
    plain = fit(rows, loss="ldam_drw").history_["loss"]
    assert found[:8] == plain[:8]
    assert found[8] != plain[8]


def test_a_point_of_the_history_need_not_be_where_weights_begin(rows):
    assert fit(rows, loss="ldam_drw", points=1).history_["step"] == [8, 10]


@pytest.mark.parametrize("mixture", ["mixup", "remix"])
def test_a_mixed_step_is_the_mean_of_the_losses_of_both_labels(mixture):
    """Pictures of one colour each do not change when mirrored or rotated."""
    rng, codes = np.random.default_rng(0), np.array([0, 0, 0, 1, 0, 2, 0, 1], np.int32)
    colours = rng.integers(0, 256, (8, 1, 1, 3), dtype=np.uint8)
    weights = rng.uniform(0.5, 1.5, 8).astype(np.float32)
    statistics = ChannelStatistics(np.full(3, 128, np.float32), np.full(3, 60, np.float32))
    compiled = training.CompiledTraining(Architecture((8, 8, 3), 3, (8,), (0,), dropout=0.0))
    model = CNNClassifier((8, 8, 3), mixture=mixture, max_shift=0, colour_spread=0.0, label_smoothing=0.0)
    config = {f.name: getattr(model, f.name) for f in fields(training.TrainingConfig)}
    compiled.prepare(training.TrainingConfig(**config), statistics, COUNTS, 0)

    step, seed = tf.constant(5), tf.constant(7)
    partners, before = np.roll(codes, 1), np.roll(np.arange(8), 1)
    counts = tf.constant(COUNTS, tf.float32)
    share, part = (
        s.numpy() for s in mixing_shares(mixture, codes, partners, counts, tf.stack([seed, ~step]))
    )
    inputs = (np.broadcast_to(colours, (8, 8, 8, 3)).astype(np.float32) - 128) / 60
    mixed = np.stack([s * inputs[i] + (1 - s) * inputs[before[i]] for i, s in enumerate(share)])
    logs = log_softmax(
        compiled.ensemble.logits(tf.constant(mixed), tf.zeros((8, 0)), training=True)[0].numpy()
    )
    own, other = -logs[np.arange(8), codes], -logs[np.arange(8), partners]
    expected = np.mean(part * weights * own + (1 - part) * weights[before] * other)

    pictures = tf.constant(np.broadcast_to(colours, (8, 8, 8, 3)))
    batch = pictures, tf.zeros((8, 0)), tf.constant(codes), tf.constant(weights)
    loss, accuracy = compiled.one_step(batch, tf.constant(0.5), step, seed, coarse=False)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    hits = part * (logs.argmax(axis=1) == codes) + (1 - part) * (logs.argmax(axis=1) == partners)
    assert float(accuracy) == pytest.approx(hits.mean(), rel=1e-4)


def test_an_unknown_mixture_is_refused(rows):
    with pytest.raises(InputError, match="the mixture 'cutmix'; choose None, 'mixup' or 'remix'"):
        fit(rows, mixture="cutmix")
