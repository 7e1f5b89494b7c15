"""Architectures: small convolutional networks whose cost hardly depends on the picture up to 64 x 64.

A picture enters as floats of about zero mean and unit spread. The stem folds square blocks of pixels into
channels (space to depth), so that every size from 8 x 8 to 128 x 128 arrives at a grid of 8 to 23 cells a
side; stages of 3 x 3 convolutions follow, most with residual pairs, and the mean and the maximum over the
grid are joined for one dense layer. No fixed size is built in: the same weights run at any resolution. A step
at 128 x 128, where a block has 192 numbers, costs about four times one at 28 x 28.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skinmnist.errors import InputError
from skinmnist.models.backend import keras, tf


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
        """Create the scale, the offset and the moving statistics, one number per channel each."""
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(shape=channels, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=channels, initializer="zeros", name="beta")
        self.moving_mean = self.add_weight(shape=channels, initializer="zeros", trainable=False, name="mean")
        self.moving_variance = self.add_weight(
            shape=channels, initializer="ones", trainable=False, name="variance"
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
        return tf.nn.space_to_depth(inputs, self.side) if self.side > 1 else inputs

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Tell the shape of the output without computing it."""
        count, _, _, channels = input_shape
        return count, None, None, channels * self.side**2


def block_side(shape: tuple[int, ...]) -> int:
    """Return the side of the square blocks that the stem folds into channels: 1, 2, 4 or 8.

    It is the largest that leaves at least 12 cells along the shorter side of the picture.
    """
    return max(side for side in (1, 2, 4, 8) if side == 1 or min(shape[:2]) >= 12 * side)


def grid_side(shape: tuple[int, ...]) -> int:
    """Return how many blocks of the stem there are along the shorter side of the picture."""
    return -(-min(shape[:2]) // block_side(shape))


def pad_to_blocks(pictures: tf.Tensor, side: int) -> tf.Tensor:
    """Mirror the lower and the right border until height and width are whole blocks."""
    below, right = (-length % side for length in pictures.shape[1:3])
    if not (below or right):
        return pictures
    return tf.pad(pictures, [[0, 0], [0, below], [0, right], [0, 0]], "SYMMETRIC")


def build_network(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    channels: Sequence[int] = (32, 64, 96),
    pairs: Sequence[int] = (0, 1, 1),
    dropout: float = 0.3,
    seed: int = 0,
) -> keras.Model:
    """Build an untrained network from standardised pictures to logits.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture.
    n_classes : int
        Number of logits.
    channels : sequence of int
        Channels of each stage: a convolution, then its residual pairs, at half the resolution of the stage
        before. Multiples of 16 suit the convolution kernels of a CPU.
    pairs : sequence of int
        Residual pairs of convolutions (He et al. 2016) of each stage.
    dropout : float, default=0.3
        Share of the joined features that is dropped in training.
    seed : int, default=0
        Seeds the weights and the dropout.

    Returns
    -------
    keras.Model
        float32 ``(n, height, width, channels)`` to float32 ``(n, n_classes)``; height and width may be any
        multiples of the side of a block.

    Raises
    ------
    InputError
        Where there are not as many entries in `pairs` as in `channels`.
    """
    if len(channels) != len(pairs):
        raise InputError(
            f"the network received {len(channels)} numbers of channels {tuple(channels)} and {len(pairs)} of "
            f"residual pairs {tuple(pairs)}; give one of each for every stage"
        )
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 + sum(1 + 2 * n for n in pairs)).tolist())

    def convolve(features: keras.KerasTensor, outputs: int, name: str) -> keras.KerasTensor:
        initializer = keras.initializers.HeNormal(seed=next(seeds))
        features = keras.layers.Conv2D(
            outputs, 3, padding="same", use_bias=False, kernel_initializer=initializer, name=name
        )(features)
        return FusedBatchNorm(name=f"{name}_norm")(features)

    pictures = keras.Input((None, None, shape[-1]), name="pictures")
    features = FoldBlocks(block_side(shape), name="fold_blocks")(pictures)
    for stage, (outputs, n_pairs) in enumerate(zip(channels, pairs, strict=True), start=1):
        name = f"stage{stage}"
        if stage > 1:
            features = keras.layers.MaxPooling2D(padding="same", name=f"{name}_pool")(features)
        features = keras.layers.ReLU(name=f"{name}_relu")(convolve(features, outputs, f"{name}_conv"))
        for pair in range(n_pairs):
            inner = convolve(features, outputs, f"{name}_pair{pair}_first")
            inner = keras.layers.ReLU(name=f"{name}_pair{pair}_relu")(inner)
            inner = convolve(inner, outputs, f"{name}_pair{pair}_second")
            features = keras.layers.Add(name=f"{name}_pair{pair}_add")([features, inner])
            features = keras.layers.ReLU(name=f"{name}_pair{pair}_out")(features)
    joined = keras.layers.Concatenate(name="mean_and_max")(
        [
            keras.layers.GlobalAveragePooling2D(name="mean")(features),
            keras.layers.GlobalMaxPooling2D(name="max")(features),
        ]
    )
    joined = keras.layers.Dropout(dropout, seed=next(seeds), name="dropout")(joined)
    logits = keras.layers.Dense(
        n_classes, kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)), name="logits"
    )(joined)
    return keras.Model(pictures, logits, name="cnn_" + "_".join(map(str, channels)))
