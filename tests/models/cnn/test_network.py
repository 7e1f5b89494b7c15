"""The architectures: their layers against independent computations, and what they cost."""

import numpy as np
import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn.backend import tf
from skinmnist.models.cnn.layers import Convolution
from skinmnist.models.cnn.network import block_side, build_feature_extractor, build_network, pad_to_blocks


def test_padding_completes_the_last_blocks_by_mirroring():
    pictures = tf.constant(np.arange(5 * 3, dtype=np.float32).reshape(1, 5, 3, 1))
    padded = pad_to_blocks(pictures, 4).numpy()[0, :, :, 0]
    np.testing.assert_array_equal(padded, np.pad(pictures[0, :, :, 0], ((0, 3), (0, 1)), mode="symmetric"))
    assert pad_to_blocks(pictures, 1) is pictures


def test_stages_and_pairs_make_the_layers_they_say():
    network = build_network((28, 28, 3), 7, channels=(16, 24, 32), pairs=(0, 1, 2))
    kernels = [layer.filters for layer in network.layers if isinstance(layer, Convolution)]
    assert kernels == [16, 24, 24, 24, 32, 32, 32, 32, 32]
    assert network(tf.zeros((2, 28, 28, 3))).shape == (2, 7)
    assert network(tf.zeros((2, 14, 14, 3))).shape == (2, 7)


def test_stages_without_as_many_pairs_are_refused():
    with pytest.raises(InputError, match=r"3 numbers of channels \(8, 8, 8\) and 1 of residual pairs"):
        build_network((8, 8, 3), 3, channels=(8, 8, 8), pairs=(1,))


@pytest.mark.parametrize(
    ("shape", "side"),
    [((8, 8, 1), 1), ((15, 40, 3), 1), ((28, 28, 3), 2), ((64, 64, 3), 4), ((128, 128, 3), 8)],
)
def test_side_of_the_blocks(shape, side):
    assert block_side(shape) == side


def test_weights_depend_on_the_seed_alone():
    first, again, other = (
        build_network((8, 8, 3), 3, channels=(8, 16, 16), seed=seed).get_weights() for seed in (4, 4, 5)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_every_kernel_starts_differently():
    kernels = [
        w.numpy()
        for w in build_network((8, 8, 3), 3, channels=(8, 16, 16)).trainable_variables
        if w.ndim == 4
    ]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


def test_building_leaves_the_global_random_state_alone():
    tf.random.set_seed(0)
    expected = tf.random.uniform((3,)).numpy()
    tf.random.set_seed(0)
    build_network((8, 8, 3), 3, channels=(8, 16, 16))
    np.testing.assert_array_equal(tf.random.uniform((3,)).numpy(), expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_and_logits_are_float32_at_any_precision(precision):
    network = build_network((28, 28, 3), 7, channels=(8, 8), pairs=(1, 0), precision=precision)
    assert {weights.dtype for weights in network.get_weights()} == {np.dtype(np.float32)}
    assert network(tf.zeros((2, 28, 28, 3))).dtype == tf.float32


def test_bfloat16_changes_the_logits_a_little_and_the_weights_not_at_all():
    pictures = np.random.default_rng(0).normal(size=(16, 28, 28, 3)).astype(np.float32)
    wide, narrow = (build_network((28, 28, 3), 7, precision=name, seed=3) for name in ("float32", "bfloat16"))
    for first, second in zip(wide.get_weights(), narrow.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    logits = wide(pictures).numpy()
    np.testing.assert_allclose(narrow(pictures), logits, atol=0.05 * logits.std() + 0.02)
    assert not np.array_equal(narrow(pictures), logits)


def test_describer_has_the_layers_it_says():
    network = build_feature_extractor(20, 7, hidden=(12, 5), seed=1)
    assert network.count_params() == 20 * 12 + 12 + 12 * 5 + 5 + 5 * 7 + 7
    assert network(tf.zeros((3, 20))).shape == (3, 7)
