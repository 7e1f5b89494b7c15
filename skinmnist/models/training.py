"""The training loop: gradient steps in one graph, from uint8 pictures held in memory.

Keras' own ``fit`` leaves the graph after each batch and builds its input pipeline anew at each epoch; here
one ``tf.function`` gathers, augments, differentiates and updates for many steps at a time. What a run does at
which step (rows, learning rate) is decided beforehand by NumPy from the seed, so it can be read and tested
without TensorFlow.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinmnist.models.augmentation import change_colours, move_pixels
from skinmnist.models.backend import keras, tf


@dataclass(frozen=True)
class Schedule:
    """Everything about a training run but the network and the data.

    Attributes
    ----------
    steps, batch_size : int
        Gradient steps, and rows per step.
    learning_rate : float
        Highest rate of the one-cycle schedule.
    weight_decay : float
        Decoupled decay of kernels (Loshchilov & Hutter 2019), relative to the learning rate.
    label_smoothing : float
        Share of the target that is spread over all classes.
    max_shift : int
        Largest shift of a picture, in pixels.
    colour_spread : float
        Standard deviation of the random gain and offset of each channel.
    points : int
        Points of the history.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    max_shift: int
    colour_spread: float
    points: int = 30


def one_cycle(steps: int, peak: float, warm_up: float = 0.2) -> npt.NDArray[np.float32]:
    """Learning rate of each step: a straight rise to `peak`, then half a cosine down to nearly zero.

    After Smith & Topin, "Super-convergence" (2018). Shape (steps,).
    """
    done = (np.arange(steps) + 0.5) / steps
    rise = done / warm_up
    fall = 0.5 * (1.0 + np.cos(np.pi * (done - warm_up) / (1.0 - warm_up)))
    return (peak * np.minimum(rise, np.where(done < warm_up, 1.0, fall))).astype(np.float32)


def draw_batches(
    n: int, steps: int, batch_size: int, random_state: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Row numbers of each batch, from one shuffled pass over the rows after another.

    Returns
    -------
    ndarray of shape (steps, batch_size), int32
        No row comes twice before every row has come once.
    """
    wanted = steps * batch_size
    passes = [random_state.permutation(n) for _ in range(-(-wanted // n))]
    return np.concatenate(passes)[:wanted].reshape(steps, batch_size).astype(np.int32)


def train_network(
    network: keras.Model,
    pictures: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.integer],
    weights: npt.NDArray[np.floating],
    standard: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    schedule: Schedule,
    seed: int,
) -> dict[str, list[float]]:
    """Train a network in place.

    Parameters
    ----------
    network : keras.Model
        From standardised pictures to logits.
    pictures : ndarray of shape (n, height, width, channels), uint8
    labels : ndarray of shape (n,)
        Codes 0..k-1.
    weights : ndarray of shape (n,)
        Weight of each row in the loss, of mean 1.
    standard : pair of ndarray of shape (channels,)
        Mean and standard deviation that standardise the channels.
    schedule : Schedule
    seed : int

    Returns
    -------
    dict of str to list
        ``step``, and means since the point before of ``loss``, ``accuracy`` (on the augmented training
        pictures) and ``learning_rate``.
    """
    order = draw_batches(len(pictures), schedule.steps, schedule.batch_size, np.random.default_rng([seed, 0]))
    rates = one_cycle(schedule.steps, schedule.learning_rate)
    run_steps = _compile_steps(network, standard, schedule, seed)
    data = tf.constant(pictures), tf.constant(labels, tf.int32), tf.constant(weights, tf.float32)

    ends = np.unique(np.linspace(0, schedule.steps, schedule.points + 1).round().astype(int))
    history: dict[str, list[float]] = {"step": [], "loss": [], "accuracy": [], "learning_rate": []}
    for start, end in itertools.pairwise(ends):
        loss, accuracy = run_steps(*data, order[start:end], rates[start:end], np.int32(start))
        history["step"].append(int(end))
        history["loss"].append(float(loss))
        history["accuracy"].append(float(accuracy))
        history["learning_rate"].append(float(rates[start:end].mean()))
    return history


def _compile_steps(
    network: keras.Model,
    standard: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    schedule: Schedule,
    seed: int,
) -> tf.types.experimental.PolymorphicFunction:
    """Return a graph function that makes as many steps as it is given batches."""
    update = _AdamW(network.trainable_variables, schedule.weight_decay)
    n_classes = network.output_shape[-1]
    centre, spread = standard

    def one_step(
        pictures: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        pictures = move_pixels(pictures, tf.stack([seed, 2 * step]), schedule.max_shift)
        inputs = (tf.cast(pictures, tf.float32) - centre) / spread
        inputs = change_colours(inputs, tf.stack([seed, 2 * step + 1]), schedule.colour_spread)
        targets = tf.one_hot(
            labels,
            n_classes,
            1.0 - schedule.label_smoothing * (1.0 - 1.0 / n_classes),
            schedule.label_smoothing / n_classes,
        )
        with tf.GradientTape() as tape:
            logits = network(inputs, training=True)
            loss = tf.reduce_mean(weights * tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        update(tape.gradient(loss, update.variables), rate, step)
        hits = tf.argmax(logits, axis=1, output_type=tf.int32) == labels
        return loss, tf.reduce_mean(tf.cast(hits, tf.float32))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((None, schedule.batch_size), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.int32),
        ],
        autograph=False,
    )
    def run_steps(pictures, labels, weights, order, rates, first_step):  # type: ignore[no-untyped-def]
        count = tf.shape(order)[0]

        def body(i, loss_sum, accuracy_sum):  # type: ignore[no-untyped-def]
            rows = order[i]
            loss, accuracy = one_step(
                tf.gather(pictures, rows),
                tf.gather(labels, rows),
                tf.gather(weights, rows),
                rates[i],
                first_step + i,
            )
            return i + 1, loss_sum + loss, accuracy_sum + accuracy

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
        _, loss_sum, accuracy_sum = tf.while_loop(lambda i, *_: i < count, body, start, parallel_iterations=1)
        scale = tf.cast(count, tf.float32)
        return loss_sum / scale, accuracy_sum / scale

    return run_steps


class _AdamW:
    """Adam with decoupled weight decay of kernels, by TensorFlow's fused kernel for each variable."""

    beta_1, beta_2, epsilon = 0.9, 0.99, 1e-7

    def __init__(self, variables: list[keras.Variable], weight_decay: float) -> None:
        self.variables = [variable.value for variable in variables]
        self.moments = [
            (tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in self.variables
        ]
        self.weight_decay = weight_decay

    def __call__(self, gradients: list[tf.Tensor], rate: tf.Tensor, step: tf.Tensor) -> None:
        time = tf.cast(step + 1, tf.float32)
        for variable, gradient, (first, second) in zip(self.variables, gradients, self.moments, strict=True):
            if len(variable.shape) > 1:
                variable.assign_sub(rate * self.weight_decay * variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=self.beta_1**time,
                beta2_power=self.beta_2**time,
                lr=rate,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )
