"""The networks of a classifier: layers, architectures, and the ensemble that predicts.

The input is a picture of floats with approximately zero mean and unit spread. The stem folds square blocks of
pixels into channels (space to depth): every size from 8x8 to 128x128 becomes a grid of 8 to 24 cells along
its shorter side. Stages of 3x3 convolutions follow, with or without residual pairs. The mean and the maximum
over the grid are concatenated and passed to one dense layer. The same weights work at any resolution.

An optional second, dense network uses the lesion features. Both networks see the same rows at every step,
each with its own loss, and their log-probabilities are averaged. They err on different pictures, so the
average is better than either network (Hansen & Salamon, "Neural network ensembles", 1990).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.mapped import MappedRows, row_blocks
from skinmnist.errors import InputError
from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.heads import Head

#: Maximum side for which a kernel's gradient is computed as a convolution, see `convolve`.
SMALL_SIDE = 8
#: Batch size for channel statistics.
MEASURED_ROWS = 256
#: Numbers from which the whitening of blocks is measured, and the variance that it adds to each channel, so
#: that noise is not made as large as the picture.
MEASURED_VALUES, WHITENED_FROM = 4_000_000, 0.02


class Convolution(keras.layers.Layer):
    """A 3x3 convolution without bias that preserves height and width."""

    def __init__(self, filters: int, kernel_initializer: Any, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel."""
        shape = (3, 3, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map ``(n, h, w, channels)`` to ``(n, h, w, filters)``."""
        return convolve(inputs, tf.cast(self.kernel, inputs.dtype))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape with the number of filters as its last axis."""
        return (*input_shape[:-1], self.filters)


@tf.custom_gradient
def convolve(
    inputs: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Convolve with a 3x3 kernel and zero padding, with a cheap gradient for small bfloat16 pictures.

    For small pictures, TensorFlow's own bfloat16 kernel gradient takes twice its share of the work. The same
    sum is a convolution of the inputs with the output gradients, with rows and channels exchanged, which is
    fast.
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
    """Batch normalisation (Ioffe & Szegedy 2015) with TensorFlow's fused kernel.

    Keras 3 composes the same formula from separate operations, which cost about three times as much per layer
    on a CPU. `momentum` is the share of the moving statistics retained after a training step.
    """

    momentum, epsilon = 0.95, 1e-3

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the scale, the offset and the moving statistics, each float32 of shape (channels,)."""

        def add(name: str, start: str, trainable: bool) -> Any:
            options: dict[str, Any] = {"shape": (input_shape[-1],), "trainable": trainable, "autocast": False}
            return self.add_weight(name=name, initializer=start, **options)

        self.gamma, self.beta = add("gamma", "ones", True), add("beta", "zeros", True)
        self.moving_mean, self.moving_variance = add("mean", "zeros", False), add("variance", "ones", False)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalise a batch with its own statistics in training, and with the moving statistics otherwise."""
        scale, offset = self.gamma.value, self.beta.value
        moving = self.moving_mean.value, self.moving_variance.value
        if not training:
            return tf.compat.v1.nn.fused_batch_norm(
                inputs, scale, offset, *moving, epsilon=self.epsilon, is_training=False
            )[0]
        outputs, *batch = tf.compat.v1.nn.fused_batch_norm(inputs, scale, offset, epsilon=self.epsilon)
        for old, new in zip(moving, batch, strict=True):
            old.assign_add((1.0 - self.momentum) * (new - old))
        return outputs


class FoldBlocks(keras.layers.Layer):
    """Fold square blocks of pixels into channels (space to depth); a side of 1 has no effect."""

    def __init__(self, side: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.side = side

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map ``(n, h, w, c)`` to ``(n, h / side, w / side, c * side**2)``; only whole blocks."""
        side = self.side
        if side == 1:
            return inputs
        shape = tf.shape(inputs)
        height, width = (inputs.shape[axis] or shape[axis] for axis in (1, 2))
        channels = inputs.shape[3]
        # Moving runs of `side` pixels takes half the time of TensorFlow's space-to-depth operation.
        runs = tf.reshape(inputs, (shape[0], height // side, side, width // side, side * channels))
        blocks = tf.transpose(runs, (0, 1, 3, 2, 4))
        return tf.reshape(blocks, (-1, height // side, width // side, channels * side**2))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape of the output without computing it."""
        count, _, _, channels = input_shape
        return count, None, None, channels * self.side**2


def block_side(shape: tuple[int, ...]) -> int:
    """Return the side of the square blocks that the stem folds into channels: 1, 2, 4 or 8.

    This is the largest side that leaves at least 12 cells along the shorter side of the picture.
    """
    return max(side for side in (1, 2, 4, 8) if side == 1 or min(shape[:2]) >= 12 * side)


def grid_side(shape: tuple[int, ...]) -> int:
    """Return the number of stem blocks along the shorter side of the picture."""
    return -(-min(shape[:2]) // block_side(shape))


def pad_to_blocks(pictures: tf.Tensor, side: int) -> tf.Tensor:
    """Pad the lower and right borders by reflection until height and width are whole blocks."""
    below, right = (-length % side for length in pictures.shape[1:3])
    if not (below or right):
        return pictures
    return tf.pad(pictures, [[0, 0], [0, below], [0, right], [0, 0]], "SYMMETRIC")


def symmetric_view(pictures: tf.Tensor, view: int) -> tf.Tensor:
    """Return one of 8 symmetric views of square pictures (n, h, w, c), or one of 4 if they are not square.

    View 0 is the picture itself. Bit 0 mirrors it horizontally, bit 1 mirrors it vertically, and bit 2 swaps
    rows with columns.
    """
    if view & 1:
        pictures = tf.reverse(pictures, [2])
    if view & 2:
        pictures = tf.reverse(pictures, [1])
    return tf.transpose(pictures, [0, 2, 1, 3]) if view & 4 else pictures


@dataclass(frozen=True)
class Architecture:
    """The settings for building networks: the parameters of `CNNClassifier`, and those determined in `fit`.

    Multiples of 16 channels suit the convolution kernels of a CPU. `precision` applies from the first
    convolution to the last grid; weights and logits are float32. If `n_features` is 0, there is no second
    network.
    """

    shape: tuple[int, int, int]
    n_classes: int
    channels: tuple[int, ...] = (32, 64, 96)
    pairs: tuple[int, ...] = (0, 1, 1)
    dropout: float = 0.3
    precision: str = "float32"
    n_features: int = 0
    feature_layers: tuple[int, ...] = ()
    feature_share: float = 0.5

    def build(self, statistics: ChannelStatistics, seed: int) -> Ensemble:
        """Build untrained networks; the seed determines weights and dropout."""
        members = [build_network(self, seed)]
        if self.n_features:
            members.append(build_feature_network(self, seed))
        return Ensemble(self, statistics, members)


def build_network(architecture: Architecture, seed: int = 0) -> keras.Model:
    """Build an untrained network from standardised pictures to logits.

    The input is float32 ``(n, height, width, channels)``, where height and width are any multiples of the
    block side; the output is float32 ``(n, n_classes)``.
    """
    channels, pairs = architecture.channels, architecture.pairs
    if len(channels) != len(pairs):
        raise InputError(
            f"the network received {len(channels)} numbers of channels {channels} and {len(pairs)} of "
            f"residual pairs {pairs}; give one of each for every stage"
        )
    layers = keras.layers
    policy = "mixed_bfloat16" if architecture.precision == "bfloat16" else "float32"
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 + sum(1 + 2 * n for n in pairs)).tolist())

    def convolve_and_norm(features: keras.KerasTensor, outputs: int, name: str) -> keras.KerasTensor:
        initializer = keras.initializers.HeNormal(seed=next(seeds))
        features = Convolution(outputs, initializer, name=name, dtype=policy)(features)
        return FusedBatchNorm(name=f"{name}_norm", dtype=policy)(features)

    pictures = keras.Input((None, None, architecture.shape[-1]), name="pictures")
    features = FoldBlocks(block_side(architecture.shape), name="fold_blocks", dtype=policy)(pictures)
    for stage, (outputs, n_pairs) in enumerate(zip(channels, pairs, strict=True), start=1):
        name = f"stage{stage}"
        if stage > 1:
            features = layers.MaxPooling2D(padding="same", name=f"{name}_pool", dtype=policy)(features)
        features = convolve_and_norm(features, outputs, f"{name}_conv")
        features = layers.ReLU(name=f"{name}_relu", dtype=policy)(features)
        for pair in range(n_pairs):
            inner = convolve_and_norm(features, outputs, f"{name}_pair{pair}_first")
            inner = layers.ReLU(name=f"{name}_pair{pair}_relu", dtype=policy)(inner)
            inner = convolve_and_norm(inner, outputs, f"{name}_pair{pair}_second")
            features = layers.Add(name=f"{name}_pair{pair}_add", dtype=policy)([features, inner])
            features = layers.ReLU(name=f"{name}_pair{pair}_out", dtype=policy)(features)
    mean = layers.GlobalAveragePooling2D(name="mean")(features)
    joined = layers.Concatenate(name="mean_and_max")([mean, layers.GlobalMaxPooling2D(name="max")(features)])
    joined = layers.Dropout(architecture.dropout, seed=next(seeds), name="dropout")(joined)
    logits = _logits(architecture, next(seeds))(joined)
    return keras.Model(pictures, logits, name="cnn_" + "_".join(map(str, channels)))


def build_feature_network(architecture: Architecture, seed: int = 0) -> keras.Model:
    """Build an untrained dense network from standardised features to logits.

    In training, a tenth of the features and half of the units in each hidden layer are dropped.
    """
    hidden = architecture.feature_layers
    seeds = iter(np.random.SeedSequence([seed, 1]).generate_state(2 * len(hidden) + 2).tolist())
    inputs = keras.Input((architecture.n_features,), name="features")
    units = keras.layers.Dropout(0.1, seed=next(seeds), name="features_dropout")(inputs)
    for layer, count in enumerate(hidden, start=1):
        initializer = keras.initializers.HeNormal(seed=next(seeds))
        units = keras.layers.Dense(
            count, activation="relu", kernel_initializer=initializer, name=f"hidden{layer}"
        )(units)
        units = keras.layers.Dropout(0.5, seed=next(seeds), name=f"hidden{layer}_dropout")(units)
    return keras.Model(inputs, _logits(architecture, next(seeds))(units), name="features")


def _logits(architecture: Architecture, seed: int) -> keras.layers.Dense:
    initializer = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(architecture.n_classes, kernel_initializer=initializer, name="logits")


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean (`centre`) and standard deviation (`spread`) of each channel, float32 of shape (channels,)."""

    centre: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]

    @classmethod
    def of(cls, pictures: npt.NDArray[np.uint8] | MappedRows) -> ChannelStatistics:
        """Compute the statistics of pictures ``(n, height, width, channels)``.

        Sums of integers are exact and need no float copies of the pictures, which would take eight times as
        much memory.
        """
        height, width, channels = pictures.shape[1:]
        sums = np.zeros((2, height, width, channels), dtype=np.int64)
        for part in row_blocks(len(pictures), MEASURED_ROWS):
            block = np.asarray(pictures[part])
            sums[0] += block.sum(axis=0, dtype=np.uint32)
            sums[1] += np.square(block, dtype=np.uint16).sum(axis=0, dtype=np.uint32)
        count = len(pictures) * height * width
        centre, square = sums.sum(axis=(1, 2)) / count
        spread = np.sqrt(np.maximum(square - centre**2, 1.0))
        return cls(centre.astype(np.float32), spread.astype(np.float32))

    def whitening(self, pictures: npt.NDArray[np.uint8] | MappedRows) -> npt.NDArray[np.float32]:
        """Return the basis in which the channels of the stem's blocks are uncorrelated, with equal variances.

        Neighbouring pixels and the colours of a pixel are nearly the same number. A first layer on white
        inputs learns their differences as fast as their mean, so training takes fewer steps (Jordan, "94% on
        CIFAR-10 in 3.29 seconds on a single GPU", 2024).

        Parameters
        ----------
        pictures : uint8 of shape (n, height, width, channels)
            Training pictures, of which as many are measured as `MEASURED_VALUES` allows.

        Returns
        -------
        ndarray of shape (d, d), float32
            One white channel per column; d is the number of channels of a block.
        """
        height, width, channels = pictures.shape[1:]
        side = block_side(pictures.shape[1:])
        rows, columns, depth = height // side, width // side, side**2 * channels
        count = min(len(pictures), max(1, MEASURED_VALUES // (height * width * channels)))
        # Spread over the table, because tables are often in the order of their classes.
        chosen = np.linspace(0, len(pictures) - 1, count).astype(int)
        total, products = np.zeros(depth), np.zeros((depth, depth))
        for part in row_blocks(count, MEASURED_ROWS):
            some = np.asarray(pictures[chosen[part]], dtype=np.float32)[:, : rows * side, : columns * side]
            some = (some - self.centre) / self.spread
            blocks = some.reshape(-1, rows, side, columns, side * channels).transpose(0, 1, 3, 2, 4)
            blocks = blocks.reshape(-1, depth)
            total += blocks.sum(axis=0, dtype=np.float64)
            products += blocks.T @ blocks
        mean = total / (count * rows * columns)
        covariance = products / (count * rows * columns) - np.outer(mean, mean)
        variances, directions = np.linalg.eigh(covariance)
        # Turned back to the old axes: unlike directions alone, the result does not jump with rounding errors.
        scaled = directions / np.sqrt(np.maximum(variances, 0.0) + WHITENED_FROM)
        return (scaled @ directions.T).astype(np.float32)


def inputs_of(shape: tuple[int, ...], n_features: int) -> list[tf.TensorSpec]:
    """Return the input signature of graphs for any number of rows: pictures and features."""
    return [tf.TensorSpec((None, *shape), tf.uint8), tf.TensorSpec((None, n_features), tf.float32)]


class Ensemble:
    """The members of a classifier: a network on pixels, and optionally a network on features."""

    def __init__(
        self, architecture: Architecture, statistics: ChannelStatistics, members: list[keras.Model]
    ) -> None:
        self.shape, self.n_features = architecture.shape, architecture.n_features
        # Variables, so that traced graphs work for other training rows.
        self._centre, self._spread = tf.Variable(statistics.centre), tf.Variable(statistics.spread)
        self.statistics = statistics
        self.members = members
        self.trunks = [keras.Model(member.input, member.get_layer("logits").input) for member in members]
        share = architecture.feature_share
        self.shares = [1.0 - share, share] if self.n_features else [1.0]
        self._compiled: dict[int, Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]] = {}

    def set_statistics(self, statistics: ChannelStatistics) -> None:
        """Set the statistics used to standardise pictures."""
        self.statistics = statistics
        self._centre.assign(statistics.centre)
        self._spread.assign(statistics.spread)

    @property
    def channels(self) -> ChannelStatistics:
        """The statistics as variables of a graph."""
        return ChannelStatistics(self._centre, self._spread)

    def standardise(self, pictures: tf.Tensor) -> tf.Tensor:
        """Convert uint8 pictures to floats with zero mean and unit spread."""
        return (tf.cast(pictures, tf.float32) - self._centre) * tf.math.reciprocal(self._spread)

    def start_in(self, basis: npt.NDArray[np.float32]) -> keras.Variable:
        """Change the stem's kernel to what it is for inputs in a basis, see `MuonAdam`, and return it."""
        stem = self.members[0].get_layer("stage1_conv").kernel
        stem.assign(tf.matmul(basis, stem))
        return stem

    def copy_state(self, other: Ensemble) -> None:
        """Copy the state of an ensemble with the same architecture: weights and dropout seeds."""
        self.set_statistics(other.statistics)
        for own, others in zip(self.members, other.members, strict=True):
            for variable, value in zip(own.variables, others.variables, strict=True):
                variable.assign(value)

    def get_weights(self) -> list[npt.NDArray[np.float32]]:
        """Return the weights of all members as one list."""
        return [weights for member in self.members for weights in member.get_weights()]

    def set_weights(self, weights: Sequence[npt.NDArray[np.float32]]) -> None:
        """Set weights returned by `get_weights`."""
        left = iter(weights)
        for member in self.members:
            member.set_weights(list(itertools.islice(left, len(member.weights))))

    def logits(self, pictures: tf.Tensor, features: tf.Tensor, training: bool) -> list[tf.Tensor]:
        """Return the logits of each member for standardised pictures and features."""
        inputs = self._inputs(pictures, features)
        return [member(x, training=training) for member, x in zip(self.members, inputs, strict=False)]

    def embed(self, pictures: tf.Tensor, features: tf.Tensor) -> list[tf.Tensor]:
        """Return the inputs of each member's last layer for standardised pictures and features."""
        inputs = self._inputs(pictures, features)
        return [trunk(x, training=False) for trunk, x in zip(self.trunks, inputs, strict=False)]

    def _inputs(self, pictures: tf.Tensor, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        padded = pad_to_blocks(pictures, block_side(self.shape))
        return padded, tf.ensure_shape(features, (features.shape[0], self.n_features))

    @property
    def parts(self) -> list[slice]:
        """The columns of an embedding that belong to each member; see `compile_answer`."""
        ends = np.cumsum([0, *(trunk.output_shape[-1] for trunk in self.trunks)]).tolist()
        return [slice(*pair) for pair in itertools.pairwise(ends)]

    @property
    def head(self) -> Head:
        """The last layers of all members as one, which maps an embedding to logits."""
        kernels, offsets = zip(*(m.get_layer("logits").get_weights() for m in self.members), strict=True)
        return Head(np.concatenate(kernels), np.average(offsets, axis=0, weights=self.shares).astype("f4"))

    @head.setter
    def head(self, head: Head) -> None:
        for member, part in zip(self.members, self.parts, strict=True):
            member.get_layer("logits").set_weights([head.weights[part], head.offsets])

    def average(self, logits: list[tf.Tensor]) -> tf.Tensor:
        """Return the weighted mean of the members' log-probabilities."""
        return tf.add_n(
            [share * tf.nn.log_softmax(one) for share, one in zip(self.shares, logits, strict=True)]
        )

    def compile_answer(self, views: int) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Return a graph from uint8 pictures and features to two means over symmetric views.

        The first are the log-probabilities, up to a constant of each row. The second are the embeddings: the
        inputs of the members' last layers, multiplied by the shares of the members and concatenated. A last
        layer is linear, so the logits of the mean embedding equal the mean log-probabilities up to a constant
        of each row.
        """
        if views in self._compiled:
            return self._compiled[views]

        @tf.function(input_signature=inputs_of(self.shape, self.n_features), autograph=False)
        def answer(pictures, features):  # type: ignore[no-untyped-def]
            inputs = self.standardise(pictures)
            turned = tf.stack([symmetric_view(inputs, view) for view in range(views)])

            def of_view(view):  # type: ignore[no-untyped-def]
                inner = self.embed(view, features)
                logits = [
                    member.get_layer("logits")(x) for member, x in zip(self.members, inner, strict=True)
                ]
                shared = [share * x for share, x in zip(self.shares, inner, strict=True)]
                return self.average(logits), tf.concat(shared, axis=1)

            # A loop, so that the networks are traced once instead of once per view.
            found = tf.map_fn(
                of_view, turned, parallel_iterations=1, fn_output_signature=(tf.float32, tf.float32)
            )
            return tuple(tf.add_n(tf.unstack(each, num=views)) / views for each in found)

        self._compiled[views] = answer
        return answer
