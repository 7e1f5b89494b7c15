"""Architectures: small convolutional networks whose cost hardly depends on the picture up to 64 x 64.

A picture enters as floats of about zero mean and unit spread. The stem folds square blocks of pixels into
channels (space to depth), so that every size from 8 x 8 to 128 x 128 arrives at a grid of 8 to 24 cells along
its shorter side; stages of 3 x 3 convolutions follow, most with residual pairs, and the mean and the maximum
over the grid are joined for one dense layer. No fixed size is built in: the same weights run at any
resolution. A step at 128 x 128, where a block has 192 numbers, costs about four times one at 28 x 28.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skinmnist.errors import InputError
from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.layers import Convolution, FoldBlocks, FusedBatchNorm


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
    precision: str = "float32",
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
    precision : {"float32", "bfloat16"}, default="float32"
        Of the computation from the first convolution to the last grid; weights and logits are float32.
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
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 + sum(1 + 2 * n for n in pairs)).tolist())

    def convolve(features: keras.KerasTensor, outputs: int, name: str) -> keras.KerasTensor:
        initializer = keras.initializers.HeNormal(seed=next(seeds))
        features = Convolution(outputs, initializer, name=name, dtype=policy)(features)
        return FusedBatchNorm(name=f"{name}_norm", dtype=policy)(features)

    pictures = keras.Input((None, None, shape[-1]), name="pictures")
    features = FoldBlocks(block_side(shape), name="fold_blocks", dtype=policy)(pictures)
    for stage, (outputs, n_pairs) in enumerate(zip(channels, pairs, strict=True), start=1):
        name = f"stage{stage}"
        if stage > 1:
            features = keras.layers.MaxPooling2D(padding="same", name=f"{name}_pool", dtype=policy)(features)
        features = keras.layers.ReLU(name=f"{name}_relu", dtype=policy)(
            convolve(features, outputs, f"{name}_conv")
        )
        for pair in range(n_pairs):
            inner = convolve(features, outputs, f"{name}_pair{pair}_first")
            inner = keras.layers.ReLU(name=f"{name}_pair{pair}_relu", dtype=policy)(inner)
            inner = convolve(inner, outputs, f"{name}_pair{pair}_second")
            features = keras.layers.Add(name=f"{name}_pair{pair}_add", dtype=policy)([features, inner])
            features = keras.layers.ReLU(name=f"{name}_pair{pair}_out", dtype=policy)(features)
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


def build_feature_extractor(
    n_features: int, n_classes: int, *, hidden: Sequence[int] = (256,), seed: int = 0
) -> keras.Model:
    """Build an untrained dense network from standardised descriptors to logits.

    Parameters
    ----------
    n_numbers, n_classes : int
    hidden : sequence of int
        Units of each hidden layer, of which half are dropped in training, with a tenth of the numbers.
    seed : int, default=0
        Seeds the weights and the dropout.
    """
    seeds = iter(np.random.SeedSequence([seed, 1]).generate_state(2 * len(hidden) + 2).tolist())
    numbers = keras.Input((n_features,), name="numbers")
    features = keras.layers.Dropout(0.1, seed=next(seeds), name="numbers_dropout")(numbers)
    for layer, units in enumerate(hidden, start=1):
        initializer = keras.initializers.HeNormal(seed=next(seeds))
        features = keras.layers.Dense(
            units, activation="relu", kernel_initializer=initializer, name=f"hidden{layer}"
        )(features)
        features = keras.layers.Dropout(0.5, seed=next(seeds), name=f"hidden{layer}_dropout")(features)
    logits = keras.layers.Dense(
        n_classes, kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)), name="logits"
    )(features)
    return keras.Model(numbers, logits, name="describer")
