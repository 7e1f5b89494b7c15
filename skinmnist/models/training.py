"""The training loop: gradient steps in one graph, from uint8 pictures held in memory.

Keras' own ``fit`` leaves the graph after each batch and builds its input pipeline anew at each epoch; here
one ``tf.function`` gathers, augments, differentiates and updates for many steps at a time. The first part of
a run sees the pictures at half their resolution, where a step costs a quarter (progressive resizing, Howard
2018).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinmnist.models.augmentation import change_colours, move_pixels
from skinmnist.models.backend import keras, tf
from skinmnist.models.losses import make_loss
from skinmnist.models.networks import block_side, grid_side, pad_to_blocks
from skinmnist.models.optimizers import MuonAdam
from skinmnist.models.schedule import draw_batches, one_cycle, warm_up
from skinmnist.models.watching import Watcher

#: Blocks along the shorter side of a picture below which halving the resolution leaves too little.
COARSE_GRID = 12

#: Rows that are looked at in one go when a run checks the rows that it watches.
CHECKED_ROWS = 256


@dataclass(frozen=True)
class Recipe:
    """Everything about a training run but the network and the data.

    Attributes
    ----------
    steps, batch_size : int
        Gradient steps, and rows per step.
    coarse_share : float
        Share of the steps at half resolution, where the pictures are large enough for it.
    learning_rate, weight_decay : float
        Of Adam, for all but the kernels of convolutions.
    kernel_rate, kernel_decay : float
        Of Muon, for these kernels; a rate of None leaves them to Adam.
    label_smoothing : float
        Share of the target that is spread over all classes.
    max_shift : int
        Largest shift of a picture, in pixels.
    colour_spread : float
        Standard deviation of the random gain and offset of each channel.
    balance : str or None
        How batches are drawn, see `skinmnist.models.schedule.draw_batches`.
    loss : str
        See `skinmnist.models.losses.make_loss`.
    points : int
        Points of the history, evenly over the steps; watched rows are checked at each.
    rate_patience, stop_patience : int or None
        See `skinmnist.models.watching.Watcher`. Where there is a `rate_patience` the learning rate stays up
        until the watched rows lower it, instead of following its cycle.
    """

    steps: int
    batch_size: int
    coarse_share: float
    learning_rate: float
    weight_decay: float
    kernel_rate: float | None
    kernel_decay: float
    label_smoothing: float
    max_shift: int
    colour_spread: float
    balance: str | None
    loss: str
    points: int
    rate_patience: int | None
    stop_patience: int | None


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each channel over the training pictures.

    Attributes
    ----------
    centre, spread : ndarray of shape (channels,), float32
    """

    centre: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]

    @classmethod
    def of(cls, pictures: npt.NDArray[np.uint8]) -> Standard:
        """Measure pictures ``(n, height, width, channels)``."""
        axes = (0, 1, 2)
        return cls(
            pictures.mean(axis=axes, dtype=np.float64).astype(np.float32),
            np.maximum(pictures.std(axis=axes, dtype=np.float64), 1.0).astype(np.float32),
        )

    def apply(self, pictures: tf.Tensor) -> tf.Tensor:
        """Turn uint8 pictures into floats of zero mean and unit spread."""
        return (tf.cast(pictures, tf.float32) - self.centre) / self.spread


def train_network(
    network: keras.Model,
    pictures: npt.NDArray[np.uint8],
    codes: npt.NDArray[np.integer],
    weights: npt.NDArray[np.floating],
    standard: Standard,
    recipe: Recipe,
    seed: int,
    watched: tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer]] | None = None,
) -> dict[str, list[float]]:
    """Train a network in place.

    Parameters
    ----------
    network : keras.Model
        From standardised pictures to logits.
    pictures : ndarray of shape (n, height, width, channels), uint8
    codes : ndarray of shape (n,)
        Class codes 0..k-1.
    weights : ndarray of shape (n,)
        Weight of each row in the loss, of mean 1.
    standard : Standard
    recipe : Recipe
    seed : int
    watched : tuple of ndarray, optional
        Pictures and codes that are not trained on; the network ends with the weights that did best on them.

    Returns
    -------
    dict of str to list
        ``step``, and means since the point before of ``loss``, ``accuracy`` (on the augmented training
        pictures) and ``learning_rate``; with watched rows also ``watched_loss`` and ``watched_accuracy``.
    """
    random_state = np.random.default_rng([seed, 0])
    order = draw_batches(codes, recipe.steps, recipe.batch_size, recipe.balance, random_state)
    cycle = one_cycle(recipe.steps) if recipe.rate_patience is None else warm_up(recipe.steps)
    graph_seed = int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
    shape = pictures.shape[1:]
    fine_from = round(recipe.coarse_share * recipe.steps) if grid_side(shape) >= COARSE_GRID else 0

    optimizer = MuonAdam(
        network.trainable_variables,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        kernel_rate=recipe.kernel_rate,
        kernel_decay=recipe.kernel_decay,
    )
    loss = make_loss(recipe.loss, np.bincount(codes), recipe.label_smoothing)
    data = tf.constant(pictures), tf.constant(codes, tf.int32), tf.constant(weights, tf.float32)
    watch = None if watched is None else _Watch(network, standard, recipe, *watched)

    history: dict[str, list[float]] = defaultdict(list)
    ends = np.unique([*np.linspace(0, recipe.steps, recipe.points + 1).round().astype(int), fine_from])
    for coarse, points in ((True, ends[ends <= fine_from]), (False, ends[ends >= fine_from])):
        if watch and watch.watcher.stop:
            break
        run_steps = compile_steps(network, optimizer, loss, standard, recipe, shape, graph_seed, coarse)
        for start, end in itertools.pairwise(points):
            rates = cycle[start:end] * np.float32(watch.watcher.rate if watch else 1.0)
            mean_loss, accuracy = run_steps(*data, order[start:end], rates, np.int32(start))
            history["step"].append(int(end))
            history["loss"].append(float(mean_loss))
            history["accuracy"].append(float(accuracy))
            history["learning_rate"].append(float(recipe.learning_rate * rates.mean()))
            if watch and watch.look(history):
                break
    if watch:
        network.set_weights(watch.best)
    return dict(history)


class _Watch:
    """Look at watched rows now and then, and keep the weights that did best on them."""

    def __init__(
        self,
        network: keras.Model,
        standard: Standard,
        recipe: Recipe,
        pictures: npt.NDArray[np.uint8],
        codes: npt.NDArray[np.integer],
    ) -> None:
        self.network = network
        self.pictures, self.codes = pictures, codes
        self.watcher = Watcher(recipe.rate_patience, recipe.stop_patience)
        self.best = network.get_weights()
        self._measure = _compile_measure(network, standard, pictures.shape[1:])

    def look(self, history: dict[str, list[float]]) -> bool:
        """Add to the history, and tell whether the run should end."""
        sums = np.zeros(2)
        for start in range(0, len(self.codes), CHECKED_ROWS):
            rows = slice(start, start + CHECKED_ROWS)
            sums += self._measure(self.pictures[rows], self.codes[rows].astype(np.int32)).numpy()
        loss, accuracy = (sums / len(self.codes)).tolist()
        history["watched_loss"].append(loss)
        history["watched_accuracy"].append(accuracy)
        self.watcher.see(loss)
        if self.watcher.improved:
            self.best = self.network.get_weights()
        return self.watcher.stop


def _compile_measure(
    network: keras.Model, standard: Standard, shape: tuple[int, ...]
) -> tf.types.experimental.PolymorphicFunction:
    """Return a graph function from pictures and codes to the sums of their losses and of their hits."""

    @tf.function(
        input_signature=[tf.TensorSpec((None, *shape), tf.uint8), tf.TensorSpec((None,), tf.int32)],
        autograph=False,
    )
    def measure(pictures, codes):  # type: ignore[no-untyped-def]
        logits = network(pad_to_blocks(standard.apply(pictures), block_side(shape)), training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(codes, logits)
        hits = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == codes, tf.float32)
        return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(hits)])

    return measure


def compile_steps(
    network: keras.Model,
    optimizer: MuonAdam,
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    standard: Standard,
    recipe: Recipe,
    shape: tuple[int, ...],
    seed: int,
    coarse: bool,
) -> tf.types.experimental.PolymorphicFunction:
    """Return a graph function that makes as many steps as it is given batches, traced when first called."""

    def one_step(
        pictures: tf.Tensor, codes: tf.Tensor, weights: tf.Tensor, share: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        pictures = move_pixels(pictures, tf.stack([seed, 2 * step]), recipe.max_shift)
        inputs = standard.apply(pictures)
        inputs = change_colours(inputs, tf.stack([seed, 2 * step + 1]), recipe.colour_spread)
        if coarse:
            inputs = tf.nn.avg_pool2d(inputs, 2, 2, "SAME")
        inputs = pad_to_blocks(inputs, block_side(shape))
        with tf.GradientTape() as tape:
            logits = network(inputs, training=True)
            mean_loss = tf.reduce_mean(weights * loss(codes, logits))
        optimizer.update(tape.gradient(mean_loss, optimizer.variables), share, step)
        hits = tf.argmax(logits, axis=1, output_type=tf.int32) == codes
        return mean_loss, tf.reduce_mean(tf.cast(hits, tf.float32))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *shape), tf.uint8),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((None, recipe.batch_size), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.int32),
        ],
        autograph=False,
    )
    def run_steps(pictures, codes, weights, order, cycle, first_step):  # type: ignore[no-untyped-def]
        count = tf.shape(order)[0]

        def body(i, loss_sum, accuracy_sum):  # type: ignore[no-untyped-def]
            rows = order[i]
            mean_loss, accuracy = one_step(
                tf.gather(pictures, rows),
                tf.gather(codes, rows),
                tf.gather(weights, rows),
                cycle[i],
                first_step + i,
            )
            return i + 1, loss_sum + mean_loss, accuracy_sum + accuracy

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
        _, loss_sum, accuracy_sum = tf.while_loop(lambda i, *_: i < count, body, start, parallel_iterations=1)
        scale = tf.cast(count, tf.float32)
        return loss_sum / scale, accuracy_sum / scale

    return run_steps
