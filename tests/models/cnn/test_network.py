"""Layers against independent computations, the architectures, and the ensemble that answers."""

import pickle

import numpy as np
import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn import network
from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.classifier import CNNClassifier
from skinmnist.models.cnn.network import (
    Architecture,
    ChannelStatistics,
    Convolution,
    FoldBlocks,
    FusedBatchNorm,
    block_side,
    build_feature_network,
    build_network,
    convolve,
    pad_to_blocks,
    symmetric_view,
)

LITTLE = Architecture((8, 8, 3), 3, channels=(8, 16, 16))


def test_padding_completes_the_last_blocks_by_mirroring():
    pictures = tf.constant(np.arange(5 * 3, dtype=np.float32).reshape(1, 5, 3, 1))
    padded = pad_to_blocks(pictures, 4).numpy()[0, :, :, 0]
    np.testing.assert_array_equal(padded, np.pad(pictures[0, :, :, 0], ((0, 3), (0, 1)), mode="symmetric"))
    assert pad_to_blocks(pictures, 1) is pictures


def test_stages_and_pairs_make_the_layers_they_say():
    built = build_network(Architecture((28, 28, 3), 7, channels=(16, 24, 32), pairs=(0, 1, 2)))
    kernels = [layer.filters for layer in built.layers if isinstance(layer, Convolution)]
    assert kernels == [16, 24, 24, 24, 32, 32, 32, 32, 32]
    assert built(tf.zeros((2, 28, 28, 3))).shape == (2, 7)
    assert built(tf.zeros((2, 14, 14, 3))).shape == (2, 7)


def test_stages_without_as_many_pairs_are_refused():
    with pytest.raises(InputError, match=r"3 numbers of channels \(8, 8, 8\) and 1 of residual pairs"):
        build_network(Architecture((8, 8, 3), 3, channels=(8, 8, 8), pairs=(1,)))


@pytest.mark.parametrize(
    ("shape", "side"),
    [((8, 8, 1), 1), ((15, 40, 3), 1), ((28, 28, 3), 2), ((64, 64, 3), 4), ((128, 128, 3), 8)],
)
def test_side_of_the_blocks(shape, side):
    assert block_side(shape) == side


def test_weights_depend_on_the_seed_alone():
    first, again, other = (build_network(LITTLE, seed).get_weights() for seed in (4, 4, 5))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_every_kernel_starts_differently():
    kernels = [w.numpy() for w in build_network(LITTLE).trainable_variables if w.ndim == 4]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


def test_building_leaves_the_global_random_state_alone():
    tf.random.set_seed(0)
    expected = tf.random.uniform((3,)).numpy()
    tf.random.set_seed(0)
    build_network(LITTLE)
    np.testing.assert_array_equal(tf.random.uniform((3,)).numpy(), expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_and_logits_are_float32_at_any_precision(precision):
    built = build_network(Architecture((28, 28, 3), 7, (8, 8), (1, 0), precision=precision))
    assert {weights.dtype for weights in built.get_weights()} == {np.dtype(np.float32)}
    assert built(tf.zeros((2, 28, 28, 3))).dtype == tf.float32


def test_bfloat16_changes_the_logits_a_little_and_the_weights_not_at_all():
    pictures = np.random.default_rng(0).normal(size=(16, 28, 28, 3)).astype(np.float32)
    wide, narrow = (
        build_network(Architecture((28, 28, 3), 7, precision=name), seed=3)
        for name in ("float32", "bfloat16")
    )
    for first, second in zip(wide.get_weights(), narrow.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    logits = wide(pictures).numpy()
    np.testing.assert_allclose(narrow(pictures), logits, atol=0.05 * logits.std() + 0.02)
    assert not np.array_equal(narrow(pictures), logits)


def test_feature_network_has_the_layers_it_says():
    built = build_feature_network(Architecture((8, 8, 3), 7, n_features=20, feature_layers=(12, 5)))
    assert built.count_params() == 20 * 12 + 12 + 12 * 5 + 5 + 5 * 7 + 7
    assert built(tf.zeros((3, 20))).shape == (3, 7)


def gradients_of_convolution(inputs, kernel, moves, function):
    """Gradients toward inputs and kernel, in float32, for the outputs' gradient `moves`."""
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = function(inputs, kernel)
    found = tape.gradient(outputs, [inputs, kernel], output_gradients=tf.cast(moves, outputs.dtype))
    return [tf.cast(outputs, tf.float32).numpy()] + [tf.cast(one, tf.float32).numpy() for one in found]


@pytest.mark.parametrize("side", [1, 2, 4, 7, 8, 9, 14])
@pytest.mark.parametrize(("dtype", "error"), [(tf.float32, 1e-5), (tf.bfloat16, 0.02)])
def test_convolution_and_its_gradients_equal_tensorflows_own(side, dtype, error):
    rng = np.random.default_rng(side)
    values = [
        rng.normal(size=s).astype(np.float32) for s in ((6, side, side, 5), (3, 3, 5, 4), (6, side, side, 4))
    ]
    inputs, kernel, moves = (tf.cast(tf.constant(value), dtype) for value in values)
    ours = gradients_of_convolution(inputs, kernel, moves, convolve)
    # Of larger pictures the gradients are TensorFlow's own, which in bfloat16 may be coarse.
    exact_type = tf.float32 if side <= network.SMALL_SIDE else dtype
    exact = [tf.cast(value, exact_type) for value in (inputs, kernel, moves)]
    theirs = gradients_of_convolution(*exact, lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"))
    for found, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, wanted, atol=error * np.abs(wanted).max())


def test_gradient_of_oblong_pictures_is_right_where_one_side_is_small():
    rng = np.random.default_rng(0)
    inputs, moves = (tf.cast(rng.normal(size=(3, 4, 11, 2)), tf.bfloat16) for _ in range(2))
    kernel = tf.cast(rng.normal(size=(3, 3, 2, 2)), tf.bfloat16)
    ours = gradients_of_convolution(inputs, kernel, moves, convolve)
    exact = [tf.cast(value, tf.float32) for value in (inputs, kernel, moves)]
    theirs = gradients_of_convolution(*exact, lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"))
    for found, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, wanted, atol=0.02 * np.abs(wanted).max())


def test_layer_tells_its_shape_and_takes_its_initialiser():
    layer = Convolution(6, "ones")
    outputs = layer(tf.ones((2, 5, 4, 3)))
    assert outputs.shape == layer.compute_output_shape((2, 5, 4, 3)) == (2, 5, 4, 6)
    assert outputs[0, 2, 2, 0] == 27


def test_fused_normalisation_equals_that_of_keras():
    inputs = np.random.default_rng(0).normal(2.0, 3.0, (6, 5, 5, 4)).astype(np.float32)
    ours, theirs = FusedBatchNorm(), keras.layers.BatchNormalization(momentum=0.5)
    ours.momentum = 0.5
    for training in (True, False):
        np.testing.assert_allclose(
            ours(inputs, training=training),
            theirs(inputs, training=training),
            atol=0.05 if not training else 1e-4,
        )
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("side", [1, 2, 4])
def test_blocks_are_folded_as_by_tensorflows_own(side, dtype):
    pictures = tf.cast(np.random.default_rng(0).normal(size=(3, 8, 12, 3)), dtype)
    expected = tf.nn.space_to_depth(pictures, side) if side > 1 else pictures
    folded = FoldBlocks(side, dtype=dtype)(pictures)
    assert folded.dtype == expected.dtype
    np.testing.assert_array_equal(tf.cast(folded, "float32"), tf.cast(expected, "float32"))


def test_pictures_of_no_whole_blocks_are_not_folded():
    with pytest.raises(tf.errors.InvalidArgumentError):
        FoldBlocks(2)(np.zeros((36, 7, 7, 1), np.float32))


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
    return CNNClassifier(SHAPE, **SMALL, feature_layers=(10,)).fit(*rows)


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
    features = tf.constant(both._features(pictures.numpy()))
    ensemble = both.build_ensemble()
    one_view = ensemble.compile_answer(1)
    singles = [one_view(symmetric_view(pictures, view), features) for view in range(views)]
    for whole, parts in zip(
        ensemble.compile_answer(views)(pictures, features), zip(*singles, strict=True), strict=True
    ):
        np.testing.assert_allclose(whole, tf.add_n(parts) / views, atol=1e-5)


def test_both_networks_learn(rows):
    model = CNNClassifier(SHAPE, **{**SMALL, "steps": 80}, feature_layers=(16,)).fit(*rows)
    for share in (0.0, 1.0):
        assert (answers(model, rows[0], share).argmax(axis=1) == rows[1]).mean() > 0.7


def test_pickled_and_brought_back_it_answers_the_same(rows, both):
    again = pickle.loads(pickle.dumps(both))
    np.testing.assert_array_equal(again.predict_proba(rows[0]), both.predict_proba(rows[0]))


def test_channels_are_measured_as_numpy_does(monkeypatch):
    pictures = np.random.default_rng(0).integers(0, 256, (41, 5, 4, 3), dtype=np.uint8)
    pictures[..., 1] //= 40
    pictures[..., 2] = 255
    monkeypatch.setattr(network, "MEASURED_ROWS", 7)
    found = ChannelStatistics.of(pictures)
    assert found.centre.dtype == found.spread.dtype == np.float32
    np.testing.assert_array_equal(found.centre, pictures.mean(axis=(0, 1, 2)).astype(np.float32))
    np.testing.assert_allclose(found.spread[:2], pictures[..., :2].std(axis=(0, 1, 2)), rtol=1e-6)
    assert found.spread[2] == 1.0, "a channel that does not vary"


@pytest.mark.parametrize("side", [(6, 6), (6, 4)])
def test_views_are_all_different_and_undone_by_a_view(side):
    pictures = np.arange(2 * side[0] * side[1] * 3).reshape(2, *side, 3)
    views = range(8 if side[0] == side[1] else 4)
    seen = [symmetric_view(tf.constant(pictures), view).numpy() for view in views]
    assert len({view.tobytes() for view in seen}) == len(seen)
    np.testing.assert_array_equal(seen[0], pictures)
    for view in seen:
        undone = [symmetric_view(tf.constant(view), other).numpy() for other in views]
        assert any(np.array_equal(candidate, pictures) for candidate in undone)


@pytest.mark.parametrize("shape", [(8, 8, 3), (27, 28, 3), (24, 24, 1)])
def test_blocks_in_the_white_basis_are_uncorrelated(shape, monkeypatch):
    monkeypatch.setattr(network, "WHITENED_FROM", 0.0)
    rng = np.random.default_rng(0)
    pictures = (128 + np.cumsum(rng.integers(-2, 3, (40, *shape)), axis=2)).astype(np.uint8)
    statistics = ChannelStatistics.of(pictures)
    side = network.block_side(shape)
    whole = pictures[:, : shape[0] // side * side, : shape[1] // side * side]
    standard = ((whole - statistics.centre) / statistics.spread).astype(np.float32)
    white = FoldBlocks(side)(standard).numpy() @ statistics.whitening(pictures)
    covariance = np.cov(white.reshape(-1, white.shape[-1]), rowvar=False, ddof=0)
    np.testing.assert_allclose(covariance, np.eye(len(covariance)) if covariance.ndim else 1.0, atol=1e-2)


def test_pictures_of_one_colour_can_be_whitened():
    pictures = np.full((3, 8, 8, 3), 7, np.uint8)
    assert np.isfinite(ChannelStatistics.of(pictures).whitening(pictures)).all()
