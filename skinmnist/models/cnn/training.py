"""The training loop: gradient steps in one graph, from uint8 pictures held in memory or read as needed.

Keras' own ``fit`` leaves the graph after each batch and builds its input pipeline anew at each epoch; here
one ``tf.function`` gathers, augments, differentiates and updates for many steps at a time. The first part of
a run sees the pictures at half their resolution, where a step costs a quarter (progressive resizing, Howard
2018).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from skinmnist.models.cnn.augmentation import change_colours, move_pixels
from skinmnist.models.cnn.backend import tf
from skinmnist.models.cnn.ensemble import Ensemble, Rows
from skinmnist.models.cnn.feed import Feed
from skinmnist.models.cnn.monitoring import Monitor, Watch, Watched
from skinmnist.models.cnn.network import grid_side
from skinmnist.models.cnn.objective import make_loss
from skinmnist.models.cnn.optimizer import MuonAdam
from skinmnist.models.cnn.schedule import draw_batches, one_cycle, warm_up

#: Blocks along the shorter side of a picture below which halving the resolution leaves too little.
COARSE_GRID = 12


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
        How batches are drawn, see `skinmnist.models.cnn.schedule.draw_batches`.
    loss : str
        See `skinmnist.models.cnn.objective.make_loss`.
    points : int
        Points of the history, evenly over the steps; watched rows are checked at each.
    rate_patience, stop_patience : int or None
        See `skinmnist.models.cnn.monitoring.Monitor`. Where there is a `rate_patience` the learning rate
        stays up until the watched rows lower it, instead of following its cycle.
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

    @property
    def traced(self) -> Recipe:
        """The recipe with only those settings that the graph of a step holds; the others at nothing."""
        return replace(
            self, steps=0, coarse_share=0.0, balance=None, points=0, rate_patience=None, stop_patience=None
        )


class Trainer:
    """Networks, their optimizer and the graphs of a step, which can train from the start any number of times.

    Parameters
    ----------
    experts : Experts
    recipe : Recipe
        Those settings count that `Recipe.traced` keeps.
    counts : ndarray of shape (k,)
        Rows of each class, for `skinmnist.models.cnn.objective.make_loss`.
    """

    def __init__(self, members: Ensemble, recipe: Recipe, counts: npt.NDArray[np.integer]) -> None:
        self.members, self.recipe = members, recipe
        self.loss = make_loss(recipe.loss, counts, recipe.label_smoothing)
        self.optimizer = MuonAdam(
            members.trainable_variables,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            kernel_rate=recipe.kernel_rate,
            kernel_decay=recipe.kernel_decay,
        )
        self._steps: dict[bool, tf.types.experimental.PolymorphicFunction] = {}

    def steps(self, coarse: bool) -> tf.types.experimental.PolymorphicFunction:
        """Return the graph function of `compile_steps`, at half resolution or at the full one."""
        if coarse not in self._steps:
            self._steps[coarse] = compile_steps(self.members, self.optimizer, self.loss, self.recipe, coarse)
        return self._steps[coarse]


def train_network(
    trainer: Trainer,
    rows: Rows,
    weights: npt.NDArray[np.floating],
    recipe: Recipe,
    seed: int,
    sample_indices: npt.NDArray[np.integer] | None = None,
    watched: Watched | None = None,
) -> dict[str, list[float]]:
    """Train the networks of a trainer in place.

    Parameters
    ----------
    trainer : Trainer
    rows : Rows
    weights : ndarray of shape (n,)
        Weight of each row in the loss, of mean 1.
    recipe : Recipe
    seed : int
    drawn : ndarray of int, optional
        Positions of the rows to train on, some of them more than once: copies made by a sampler stay an
        index.
    watched : Watched, optional
        Rows that are not trained on; the networks end with the weights that did best on them.

    Returns
    -------
    dict of str to list
        ``step``, and means since the point before of ``loss``, ``accuracy`` (on the augmented training
        pictures) and ``learning_rate``; with watched rows also ``watched_loss`` and ``watched_accuracy``.

    Raises
    ------
    FloatingPointError
        Where the loss is no longer finite.
    """
    members = trainer.members
    trainer.optimizer.reset()
    if sample_indices is None:
        sample_indices = np.arange(len(rows.codes))
    random_state = np.random.default_rng([seed, 0])
    codes = rows.codes[sample_indices]
    order = sample_indices[draw_batches(codes, recipe.steps, recipe.batch_size, recipe.balance, random_state)]
    cycle = one_cycle(recipe.steps) if recipe.rate_patience is None else warm_up(recipe.steps)
    graph_seed = int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
    coarse_enough = grid_side(members.shape) >= COARSE_GRID
    fine_from = round(recipe.coarse_share * recipe.steps) if coarse_enough else 0

    feed = Feed(rows, weights, graph_seed)
    monitor = Monitor(recipe.rate_patience, recipe.stop_patience)
    watch = None if watched is None else Watch(members, watched, monitor)

    history: dict[str, list[float]] = defaultdict(list)
    ends = np.unique([*np.linspace(0, recipe.steps, recipe.points + 1).round().astype(int), fine_from])
    for coarse, points in ((True, ends[ends <= fine_from]), (False, ends[ends >= fine_from])):
        if monitor.stop:
            break
        run_steps = trainer.steps(coarse)
        for start, end in itertools.pairwise(points):
            rates = cycle[start:end] * np.float32(monitor.rate)
            mean_loss, accuracy = feed.run(run_steps, order[start:end], rates, start)
            if not np.isfinite(mean_loss):
                raise FloatingPointError(
                    f"the loss is {mean_loss} after {end} steps; lower the learning rates"
                )
            history["step"].append(int(end))
            history["loss"].append(mean_loss)
            history["accuracy"].append(accuracy)
            history["learning_rate"].append(float(recipe.learning_rate * rates.mean()))
            if watch and watch.look(history):
                break
    if watch:
        members.set_weights(watch.best)
    return dict(history)


def compile_steps(
    members: Ensemble,
    optimizer: MuonAdam,
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    recipe: Recipe,
    coarse: bool,
) -> tf.types.experimental.PolymorphicFunction:
    """Return a graph function that makes as many steps as it is given batches, traced when first called."""

    def one_step(
        batch: tuple[tf.Tensor, ...], share: tf.Tensor, step: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        pictures, numbers, codes, weights = batch
        pictures = move_pixels(pictures, tf.stack([seed, 2 * step]), recipe.max_shift)
        inputs = members.standardise(pictures)
        inputs = change_colours(inputs, tf.stack([seed, 2 * step + 1]), recipe.colour_spread)
        if coarse:
            inputs = tf.nn.avg_pool2d(inputs, 2, 2, "SAME")
        with tf.GradientTape() as tape:
            logits = members.logits(inputs, numbers, training=True)
            losses = [tf.reduce_mean(weights * loss(codes, one)) for one in logits]
            mean_loss = tf.add_n(losses) / len(losses)
        optimizer.update(tape.gradient(mean_loss, optimizer.variables), share, step)
        hits = tf.argmax(members.answer(logits), axis=1, output_type=tf.int32) == codes
        return mean_loss, tf.reduce_mean(tf.cast(hits, tf.float32))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *members.shape), tf.uint8),
            tf.TensorSpec((None, members.n_features), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((None, recipe.batch_size), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((), tf.int32),
        ],
        autograph=False,
    )
    def run_steps(pictures, numbers, codes, weights, order, cycle, first_step, seed):  # type: ignore[no-untyped-def]
        count = tf.shape(order)[0]

        def body(i, loss_sum, accuracy_sum):  # type: ignore[no-untyped-def]
            batch = tuple(tf.gather(values, order[i]) for values in (pictures, numbers, codes, weights))
            mean_loss, accuracy = one_step(batch, cycle[i], first_step + i, seed)
            return i + 1, loss_sum + mean_loss, accuracy_sum + accuracy

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
        _, loss_sum, accuracy_sum = tf.while_loop(lambda i, *_: i < count, body, start, parallel_iterations=1)
        scale = tf.cast(count, tf.float32)
        return loss_sum / scale, accuracy_sum / scale

    return run_steps
