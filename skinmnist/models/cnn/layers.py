"""Layers of the networks, built for speed on one CPU thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skinmnist.models.cnn.backend import keras, tf

#: Sides up to which the gradient of a kernel is found as a convolution, see `convolve`.
SMALL_SIDE = 8


class Convolution(keras.layers.Layer):
    """A 3 x 3 convolution that keeps the size, without bias.

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_initializer : keras.initializers.Initializer or dict
    """

    def __init__(self, filters: int, kernel_initializer: Any, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel."""
        shape = (3, 3, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """``(n, h, w, channels)`` to ``(n, h, w, filters)``."""
        return convolve(inputs, tf.cast(self.kernel, inputs.dtype))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Tell the shape of the output without computing it."""
        return (*input_shape[:-1], self.filters)


@tf.custom_gradient
def convolve(
    inputs: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Convolve with a 3 x 3 kernel, zeros around, whose gradient is cheap for small pictures in bfloat16.

    TensorFlow's own gradient of a kernel in bfloat16 takes twice its share of the work where pictures are
    small. It is the same sum as a convolution of the inputs by the outputs' gradients in which rows and
    channels have changed places, which is fast.
    """

    def gradients(moves: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        plain = {"strides": [1, 1, 1, 1], "padding": "SAME", "out_backprop": moves}
        toward_inputs = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(inputs), filter=kernel, **plain)
        side = max(inputs.shape[1] or SMALL_SIDE + 1, inputs.shape[2] or SMALL_SIDE + 1)
        if inputs.dtype == tf.bfloat16 and side <= SMALL_SIDE:
            swapped = tf.nn.conv2d(
                tf.transpose(inputs, [3, 1, 2, 0]),
                tf.transpose(moves, [1, 2, 0, 3]),
                1,
                [[0, 0], [1, 1], [1, 1], [0, 0]],
            )
            toward_kernel = tf.transpose(swapped, [1, 2, 0, 3])
        else:
            toward_kernel = tf.raw_ops.Conv2DBackpropFilter(input=inputs, filter_sizes=kernel.shape, **plain)
        return toward_inputs, toward_kernel

    return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradients


class FusedBatchNorm(keras.layers.Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) by TensorFlow's fused kernel.

    Keras 3 composes the same formula of separate operations; layer against layer, that costs about three
    times as much on a CPU.

    Parameters
    ----------
    momentum : float, default=0.95
        Share of the moving mean and variance that is kept at each training step.
    epsilon : float, default=1e-3
        Added to the variance.
    """

    def __init__(self, momentum: float = 0.95, epsilon: float = 1e-3, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the scale, the offset and the moving statistics, one float32 number per channel each."""
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(shape=channels, initializer="ones", autocast=False, name="gamma")
        self.beta = self.add_weight(shape=channels, initializer="zeros", autocast=False, name="beta")
        self.moving_mean = self.add_weight(
            shape=channels, initializer="zeros", trainable=False, autocast=False, name="mean"
        )
        self.moving_variance = self.add_weight(
            shape=channels, initializer="ones", trainable=False, autocast=False, name="variance"
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalise a batch by its own statistics when training, by the moving ones otherwise."""
        scale, offset = self.gamma.value, self.beta.value
        moving = self.moving_mean.value, self.moving_variance.value
        if not training:
            return tf.compat.v1.nn.fused_batch_norm(
                inputs, scale, offset, *moving, epsilon=self.epsilon, is_training=False
            )[0]
        outputs, *batch = tf.compat.v1.nn.fused_batch_norm(inputs, scale, offset, epsilon=self.epsilon)
        for kept, new in zip(moving, batch, strict=True):
            kept.assign_add((1.0 - self.momentum) * (new - kept))
        return outputs


class FoldBlocks(keras.layers.Layer):
    """Fold square blocks of pixels into channels (space to depth).

    Parameters
    ----------
    side : int
        Side of a block in pixels; 1 leaves the picture as it is.
    """

    def __init__(self, side: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.side = side

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """``(n, h, w, c)`` to ``(n, h / side, w / side, c * side**2)``; whole blocks only."""
        side = self.side
        if side == 1:
            return inputs
        shape = tf.shape(inputs)
        height, width = (inputs.shape[axis] or shape[axis] for axis in (1, 2))
        channels = inputs.shape[3]
        # Moved as runs of `side` pixels, which takes half the time of TensorFlow's own space to depth.
        runs = tf.reshape(inputs, (shape[0], height // side, side, width // side, side * channels))
        blocks = tf.transpose(runs, (0, 1, 3, 2, 4))
        return tf.reshape(blocks, (-1, height // side, width // side, channels * side**2))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Tell the shape of the output without computing it."""
        count, _, _, channels = input_shape
        return count, None, None, channels * self.side**2
