"""The layers against independent computations: outputs, and the gradients written by hand."""

import numpy as np
import pytest

from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.layers import Convolution, FoldBlocks, FusedBatchNorm, convolve


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
    exact = [tf.cast(value, tf.float32) for value in (inputs, kernel, moves)]
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
    ours, theirs = FusedBatchNorm(momentum=0.5), keras.layers.BatchNormalization(momentum=0.5)
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
