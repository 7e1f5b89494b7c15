"""Training: batches, learning rates, augmentation, and the loop of gradient steps.

A single ``tf.function`` gathers, augments, differentiates and updates for many steps at a time. Keras's
``fit`` leaves the graph after each batch, which makes small networks at least a tenth slower with the same
step (``experiments/benchmarks/training_loop.py --fits``). Training starts at half the resolution, where a
step costs a quarter as much (progressive resizing, Howard 2018).
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.mapped import MappedRows, row_blocks
from skinmnist.errors import InputError
from skinmnist.models.cnn.backend import tf
from skinmnist.models.cnn.losses import REWEIGHTED, class_terms, loss_weights, make_loss, mix, mixing_shares
from skinmnist.models.cnn.network import Architecture, ChannelStatistics, Ensemble, grid_side, inputs_of
from skinmnist.models.cnn.optimizer import MuonAdam
from skinmnist.resampling.strategies import split_share

Integers = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]

#: Minimum number of blocks along the shorter side of a picture for halving the resolution.
COARSE_GRID = 12
#: Largest number of batches whose rows are read at a time.
STREAMED_STEPS = 64
#: Validation rows per call of the graph.
VALIDATION_ROWS = 256
#: Number of compiled training graphs kept for later fits; more would only use memory.
WAITING = 2

#: Exponent of the class frequencies when drawing batches, for each `balance`; see `batch_exponent`.
BALANCES = {None: 1.0, "sqrt_batches": 0.5, "balanced_batches": 0.0}


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of a training run except networks and data: the parameters of `CNNClassifier`."""

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
    mixture: str | None
    points: int
    rate_patience: int | None
    stop_patience: int | None

    @property
    def traced(self) -> TrainingConfig:
        """Only the settings used in the graph of a step; the others are reset."""
        loss = "cross_entropy" if self.loss == "class_balanced" else self.loss
        return replace(
            self,
            steps=0,
            coarse_share=0.0,
            balance=None,
            loss=loss,
            points=0,
            rate_patience=None,
            stop_patience=None,
        )

    @property
    def reweighted_from(self) -> int:
        """The step from which the loss weights the classes; the number of steps if it does not."""
        return round(REWEIGHTED[self.loss][0] * self.steps) if self.loss in REWEIGHTED else self.steps


@dataclass(frozen=True)
class Rows:
    """Rows in the input format of the networks.

    `pictures` are uint8 of shape (n, height, width, channels); `features` (n, d) are standardised, with d = 0
    without a second network; `codes` (n,) are class codes 0..k-1.
    """

    pictures: npt.NDArray[np.uint8] | MappedRows
    features: Floats
    codes: Integers


@dataclass(frozen=True)
class ValidationSet:
    """Validation rows, which are not used for training.

    `class_weights` (k,) is the class mix of training divided by that of these rows. `log_prior` (k,) is the
    term that a logit-adjusted loss adds in training; zeros for other losses.
    """

    rows: Rows
    class_weights: Floats
    log_prior: Floats

    def evaluate(self, ensemble: Ensemble) -> tuple[float, float]:
        """Return loss and accuracy."""
        answer, losses, hits = ensemble.compile_answer(views=1), [], []
        for part in row_blocks(len(self.rows.codes), VALIDATION_ROWS):
            codes = self.rows.codes[part]
            answers = answer(self.rows.pictures[part], self.rows.features[part])[0].numpy()
            logs = tf.nn.log_softmax(answers + self.log_prior).numpy()
            losses.append(-logs[np.arange(len(codes)), codes])
            hits.append(answers.argmax(axis=1) == codes)
        loss = np.average(np.concatenate(losses), weights=self.class_weights[self.rows.codes])
        return float(loss), float(np.concatenate(hits).mean())


class Monitor:
    """Track the validation loss, like Keras's ReduceLROnPlateau (factor .5) and EarlyStopping.

    Each patience is a number of checks without a lower loss; None disables it.
    """

    def __init__(self, rate_patience: int | None, stop_patience: int | None) -> None:
        self._rate_patience = rate_patience or math.inf
        self._stop_patience = stop_patience or math.inf
        self.rate, self.stop, self.improved = 1.0, False, False
        self._best, self._since_best, self._since_change = math.inf, 0, 0

    def update(self, loss: float) -> None:
        """Record the loss of one more check."""
        self.improved = loss < self._best
        if self.improved:
            self._best, self._since_best, self._since_change = loss, 0, 0
            return
        self._since_best += 1
        self._since_change += 1
        if self._since_change >= self._rate_patience:
            self.rate, self._since_change = 0.5 * self.rate, 0
        self.stop = self._since_best >= self._stop_patience


def one_cycle(steps: int) -> Floats:
    """Return the share of the highest learning rate at each step: it rises linearly, then falls to zero.

    A linear fall spends more steps at low rates than a half cosine, which suits training as short as this.
    """
    done, top = (np.arange(steps) + 0.5) / steps, 0.1
    return np.where(done < top, done / top, (1.0 - done) / (1.0 - top)).astype(np.float32)


def warm_up(steps: int) -> Floats:
    """Return the share of the highest learning rate at each step: linear rise over 20 steps, constant."""
    return np.minimum(1.0, (np.arange(steps) + 1) / 20).astype(np.float32)


def batch_exponent(balance: str | None) -> float:
    """Return the exponent of the class frequencies when drawing batches.

    Examples
    --------
    >>> batch_exponent("sqrt_batches"), batch_exponent("balanced_batches@0.25"), batch_exponent(None)
    (0.5, 0.75, 1.0)
    """
    base, share = split_share(balance or "")
    if base == "balanced_batches" and share is not None:
        return 1.0 - share
    if balance not in BALANCES:
        raise InputError(
            f"the network received the balance {balance!r}; choose None, 'sqrt_batches' or "
            "'balanced_batches', or a share of it, such as 'balanced_batches@0.25'"
        )
    return BALANCES[balance]


def draw_batches(
    codes: Integers, steps: int, batch_size: int, balance: str | None, random_state: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Draw row numbers, shape (steps, batch_size), from successive shuffled passes over all rows.

    With `balance`, the class at each position of a batch is drawn first, and the row comes from passes over
    the rows of that class.
    """
    exponent = batch_exponent(balance)

    def passes(rows: Integers, count: int) -> Integers:
        shuffled = [random_state.permutation(rows) for _ in range(-(-count // len(rows)))]
        return np.concatenate([rows[:0], *shuffled])[:count]

    count = steps * batch_size
    if balance is None:
        order = passes(np.arange(len(codes)), count)
    else:
        chances = np.bincount(codes) ** exponent
        classes = random_state.choice(len(chances), size=count, p=chances / chances.sum())
        order = np.empty(count, dtype=np.int64)
        for code in range(len(chances)):
            places = np.flatnonzero(classes == code)
            order[places] = passes(np.flatnonzero(codes == code), len(places))
    return order.reshape(steps, batch_size).astype(np.int32)


def move_pixels(pictures: tf.Tensor, seed: tf.Tensor, max_shift: int) -> tf.Tensor:
    """Mirror, rotate and shift each picture at random; non-square pictures are not rotated by 90 degrees.

    All three operations only move pixels, so a single gather of uint8 pixels implements them. The int32 seed
    of shape (2,) determines all random numbers. Areas uncovered by a shift are filled by reflection.
    """
    n = tf.shape(pictures)[0]
    height, width, channels = pictures.shape[1:]
    draws = tf.random.experimental.stateless_split(seed, 2)
    flags = tf.random.stateless_uniform((3, n, 1), draws[0], 0, 2, tf.int32)
    shifts = tf.random.stateless_uniform((2, n, 1), draws[1], -max_shift, max_shift + 1, tf.int32)

    def positions(length: int, shift: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
        """Return the source of each pixel along one axis, shape (n, length)."""
        along = tf.range(length) + tf.clip_by_value(shift, 1 - length, length - 1)
        along = tf.where(along < 0, -along, along)
        along = tf.where(along >= length, 2 * (length - 1) - along, along)
        return tf.where(mirrored == 1, length - 1 - along, along)

    y = positions(height, shifts[0], flags[0])[:, :, None]
    x = positions(width, shifts[1], flags[1])[:, None, :]
    source = y * width + x
    if height == width:
        source = tf.where(flags[2][:, :, None] == 1, x * width + y, source)
    flat = tf.reshape(pictures, (n, height * width, channels))
    moved = tf.gather(flat, tf.reshape(source, (n, height * width)), batch_dims=1)
    return tf.reshape(moved, (n, height, width, channels))


def change_colours(
    pictures: tf.Tensor, statistics: ChannelStatistics, seed: tf.Tensor, spread: float
) -> tf.Tensor:
    """Standardise pictures, and scale and offset each channel of each at random, as another camera would.

    `spread` is the standard deviation of the gain around 1 and of the offset around 0.
    """
    shape = (2, tf.shape(pictures)[0], pictures.shape[-1])
    gain, offset = tf.unstack(tf.random.stateless_normal(shape, seed, 0.0, spread))
    scale = (1.0 + gain) / statistics.spread
    return pictures * _every_pixel(scale, pictures) + _every_pixel(
        offset - scale * statistics.centre, pictures
    )


def _every_pixel(values: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Broadcast a number for each picture and channel, ``(n, channels)``, to all pixels.

    TensorFlow broadcasts slowly along an axis as short as the channels. A product with ones and zeros gives
    the same numbers in a tenth of the time.
    """
    height, width, channels = pictures.shape[1:]
    copies = np.tile(np.eye(channels, dtype=np.float32), height * width)
    return tf.reshape(tf.matmul(values, copies), (-1, *pictures.shape[1:]))


class CompiledTraining:
    """The ensemble of an architecture, its optimizer, and their traced graphs.

    Tracing takes an eighth of a fit, and a comparison fits the same networks to many folds. Everything that
    differs between two fits (weights, channel statistics and seeds) is loaded into the graphs of the first.
    """

    ensemble: Ensemble

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        # What a step knows about the classes of a fold, see `class_terms`.
        self._counts, self._terms = (tf.Variable(tf.zeros(architecture.n_classes)) for _ in range(2))
        self._traced_for: TrainingConfig | None = None
        self._graphs: dict[bool, tf.types.experimental.PolymorphicFunction] = {}

    def load(self, statistics: ChannelStatistics, weights: Sequence[Floats]) -> Ensemble:
        """Return the ensemble with trained weights."""
        if not hasattr(self, "ensemble"):
            self.ensemble = self.architecture.build(statistics, seed=0)
        self.ensemble.set_statistics(statistics)
        self.ensemble.set_weights(weights)
        return self.ensemble

    def train(
        self,
        config: TrainingConfig,
        statistics: ChannelStatistics,
        rows: Rows,
        weights: Floats,
        seed: int,
        sample_indices: Integers | None = None,
        validation: ValidationSet | None = None,
    ) -> tuple[dict[str, list[float]], list[Floats]]:
        """Train from scratch; return the history, as described in `CNNClassifier`, and the weights.

        The row `weights` have mean 1. Copies made by a sampler are kept as indices. With a validation set,
        the returned weights are those with the lowest validation loss.
        """
        indices = np.arange(len(rows.codes)) if sample_indices is None else sample_indices
        codes = rows.codes[indices]
        counts = np.bincount(codes)
        self.prepare(config, statistics, counts, seed)
        if config.kernel_rate is not None:
            white = statistics.whitening(rows.pictures)
            self.optimizer.set_basis(self.ensemble.start_in(white), white)
        random_state = np.random.default_rng([seed, 0])
        order = indices[draw_batches(codes, config.steps, config.batch_size, config.balance, random_state)]
        cycle = one_cycle(config.steps) if config.rate_patience is None else warm_up(config.steps)
        coarse_enough = grid_side(self.architecture.shape) >= COARSE_GRID
        fine_from = round(config.coarse_share * config.steps) if coarse_enough else 0

        batches = _Batches(rows, weights, int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1))
        monitor, best = Monitor(config.rate_patience, config.stop_patience), self.ensemble.get_weights()
        history: dict[str, list[float]] = defaultdict(list)
        every_point = np.linspace(0, config.steps, config.points + 1).round().astype(int)
        for start, end in itertools.pairwise(np.unique([*every_point, fine_from, config.reweighted_from])):
            if start == config.reweighted_from:
                reweighted = weights * loss_weights(config.loss, counts)[rows.codes]
                batches.weights = reweighted / reweighted[indices].mean()
            rates = cycle[start:end] * np.float32(monitor.rate)
            run_steps = self.compile_steps(coarse=bool(end <= fine_from))
            mean_loss, accuracy = batches.run(run_steps, order[start:end], rates, start)
            if not np.isfinite(mean_loss):
                raise FloatingPointError(
                    f"the loss is {mean_loss} after {end} steps; lower the learning rates"
                )
            history["step"].append(int(end))
            history["loss"].append(mean_loss)
            history["accuracy"].append(accuracy)
            history["learning_rate"].append(float(config.learning_rate * rates.mean()))
            if validation is not None:
                loss, accuracy = validation.evaluate(self.ensemble)
                history["validation_loss"].append(loss)
                history["validation_accuracy"].append(accuracy)
                monitor.update(loss)
                if monitor.improved:
                    best = self.ensemble.get_weights()
                if monitor.stop:
                    break
        return dict(history), best if validation is not None else self.ensemble.get_weights()

    def prepare(
        self, config: TrainingConfig, statistics: ChannelStatistics, counts: Integers, seed: int
    ) -> None:
        """Reset the ensemble and the momentum; keep the graphs if possible."""
        built = self.architecture.build(statistics, seed)
        if hasattr(self, "ensemble"):
            self.ensemble.copy_state(built)
        else:
            self.ensemble = built
        self._counts.assign(counts)
        self._terms.assign(class_terms(config.loss, counts))
        if config.traced != self._traced_for:
            self._traced_for, self._graphs = config.traced, {}
            self.config, self.loss = config, make_loss(config.loss, self._terms, config.label_smoothing)
            self.optimizer = MuonAdam(
                [variable for member in self.ensemble.members for variable in member.trainable_variables],
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                kernel_rate=config.kernel_rate,
                kernel_decay=config.kernel_decay,
            )
        self.optimizer.reset()

    def one_step(
        self, batch: Sequence[tf.Tensor], share: tf.Tensor, step: tf.Tensor, seed: tf.Tensor, coarse: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Take one gradient step at a share of the highest learning rates; return loss and accuracy."""
        pictures, features, codes, weights = batch
        pictures = move_pixels(pictures, tf.stack([seed, 2 * step]), self.config.max_shift)
        inputs = tf.cast(pictures, tf.float32)
        if coarse:
            inputs = tf.nn.avg_pool2d(inputs, 2, 2, "SAME")
        colour_seed = tf.stack([seed, 2 * step + 1])
        inputs = change_colours(inputs, self.ensemble.channels, colour_seed, self.config.colour_spread)
        targets = [(codes, weights, tf.constant(1.0))]
        if self.config.mixture:
            inputs, features, targets = self.mix_batch(
                inputs, features, codes, weights, tf.stack([seed, ~step])
            )
        with tf.GradientTape() as tape:
            logits = self.ensemble.logits(inputs, features, training=True)
            losses = [
                tf.reduce_mean(part * weights * self.loss(codes, one))
                for one in logits
                for codes, weights, part in targets
            ]
            mean_loss = tf.add_n(losses) / len(logits)
        self.optimizer.update(tape.gradient(mean_loss, self.optimizer.variables), share, step)
        named = tf.argmax(self.ensemble.average(logits), axis=1, output_type=tf.int32)
        hits = [tf.reduce_mean(part * tf.cast(named == codes, tf.float32)) for codes, _, part in targets]
        return mean_loss, tf.add_n(hits)

    def mix_batch(
        self, inputs: tf.Tensor, features: tf.Tensor, codes: tf.Tensor, weights: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]]:
        """Mix each row with its predecessor; return inputs, features, and codes, weights, parts of both."""
        partners = tf.roll(codes, 1, 0)
        share, part = mixing_shares(str(self.config.mixture), codes, partners, self._counts, seed)
        targets = [(codes, weights, part), (partners, tf.roll(weights, 1, 0), 1.0 - part)]
        return mix(inputs, share), mix(features, share), targets

    def compile_steps(self, coarse: bool) -> tf.types.experimental.PolymorphicFunction:
        """Return a graph that takes one step per given batch; it is traced on the first call."""
        if coarse in self._graphs:
            return self._graphs[coarse]

        @tf.function(
            input_signature=[
                *inputs_of(self.architecture.shape, self.architecture.n_features),
                tf.TensorSpec((None,), tf.int32),
                tf.TensorSpec((None,), tf.float32),
                tf.TensorSpec((None, self.config.batch_size), tf.int32),
                tf.TensorSpec((None,), tf.float32),
                tf.TensorSpec((), tf.int32),
                tf.TensorSpec((), tf.int32),
            ],
            autograph=False,
        )
        def run_steps(pictures, features, codes, weights, order, cycle, first_step, seed):  # type: ignore[no-untyped-def]
            count = tf.shape(order)[0]

            def body(i, loss_sum, accuracy_sum):  # type: ignore[no-untyped-def]
                batch = [tf.gather(values, order[i]) for values in (pictures, features, codes, weights)]
                mean_loss, accuracy = self.one_step(batch, cycle[i], first_step + i, seed, coarse)
                return i + 1, loss_sum + mean_loss, accuracy_sum + accuracy

            start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
            _, *sums = tf.while_loop(lambda i, *_: i < count, body, start, parallel_iterations=1)
            return [total / tf.cast(count, tf.float32) for total in sums]

        self._graphs[coarse] = run_steps
        return run_steps


class _Batches:
    """Supplier of rows to the graph: those of a few batches at a time, so tables need no second copy."""

    def __init__(self, rows: Rows, weights: Floats, seed: int) -> None:
        self.rows, self.weights, self.seed = rows, weights, np.int32(seed)

    def run(
        self, run_steps: Callable[..., Sequence[tf.Tensor]], order: Integers, rates: Floats, first_step: int
    ) -> tuple[float, float]:
        """Take one step for each batch of row numbers; return the mean loss and accuracy."""
        sums = np.zeros(2)
        for part in row_blocks(len(order), STREAMED_STEPS):
            # Ascending order makes the reads of mapped rows sequential.
            needed, places = np.unique(order[part], return_inverse=True)
            batches = places.reshape(order[part].shape).astype(np.int32)
            step = np.int32(first_step + part.start)
            means = run_steps(*self._tensors(needed), batches, rates[part], step, self.seed)
            sums += np.array(means, dtype=float) * len(batches)
        return float(sums[0] / len(order)), float(sums[1] / len(order))

    def _tensors(self, which: Integers) -> tuple[tf.Tensor, ...]:
        return (
            tf.constant(np.asarray(self.rows.pictures[which])),
            tf.constant(self.rows.features[which]),
            tf.constant(self.rows.codes[which], tf.int32),
            tf.constant(self.weights[which], tf.float32),
        )


_waiting: dict[Architecture, CompiledTraining] = {}


@contextmanager
def borrow(architecture: Architecture) -> Iterator[CompiledTraining]:
    """Lend the compiled training of an architecture for exclusive use, reusing an idle one if available.

    `load` and `train` overwrite its previous state.
    """
    compiled = _waiting.pop(architecture, None) or CompiledTraining(architecture)
    yield compiled
    # After an error, the object is discarded, because its state is unknown.
    _waiting[architecture] = compiled
    for oldest in list(_waiting)[:-WAITING]:
        _waiting.pop(oldest, None)
