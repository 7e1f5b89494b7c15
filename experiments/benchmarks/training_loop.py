"""Our training loop beside Keras' ``fit``: steps per second on the same network, and the cost of whole fits.

``python experiments/benchmarks/training_loop.py [TABLE.csv]`` compares steps; without a table, pictures are
drawn at random, which changes no time. All contestants take turns in one process of one thread; what is
printed are the medians of the rounds and their ratios. Our loop has more to do at each step: it augments the
batch and orthogonalises the kernels' updates, while ``fit`` gets standardised floats and runs AdamW. The last
lines are CPU seconds of one whole fit of ``cnn``, tracing included, and of as many steps of Keras' ``fit``.

``python experiments/benchmarks/training_loop.py --fits`` asks what our loop would cost as a ``train_step`` of
Keras' ``fit``: the very same step, fed with the very same batches, so that the weights must be equal bit for
bit. One thread, fits in turn, CPU seconds, appended to ``training_loop_fits.csv`` beside this file; the first
fit of each, turn 0, traces its graphs and stands apart. ``fit`` takes several steps in a call of the graph
only where all epochs have as many. The rows kept were measured on a machine under load.
"""

import csv
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.synthetic.lesions import make_lesions
from skinmnist.datasets.table import to_images
from skinmnist.models.cnn.backend import choose_precision, keras, tf
from skinmnist.models.cnn.network import (
    Architecture,
    ChannelStatistics,
    Convolution,
    FusedBatchNorm,
    build_network,
)
from skinmnist.models.cnn.training import (
    CompiledTraining,
    Rows,
    TrainingConfig,
    draw_batches,
    one_cycle,
)
from skinmnist.models.registry import make_cnn, make_cnn_tiny
from skinmnist.models.spec import Setting

ROUNDS, STEPS, BATCH = 5, 50, 128
CONFIG = TrainingConfig(
    steps=STEPS,
    batch_size=BATCH,
    coarse_share=0.0,
    learning_rate=4e-3,
    weight_decay=0.05,
    kernel_rate=0.1,
    kernel_decay=0.1,
    label_smoothing=0.1,
    max_shift=3,
    colour_spread=0.1,
    balance=None,
    loss="cross_entropy",
    mixture=None,
    points=1,
    rate_patience=None,
    stop_patience=None,
)
#: Whole fits: turns after the first, gradient steps of a fit, and those between two points of the history.
TURNS, FIT_STEPS, EPOCH = 4, 96, 24
NETWORKS = (("cnn", make_cnn, 28), ("cnn_tiny", make_cnn_tiny, 28), ("cnn at 8x8", make_cnn, 8))


def of_keras_layers(network):
    """Return the same network with Keras' own convolution and batch normalisation in place of ours."""

    def swap(layer):
        if isinstance(layer, Convolution):
            return keras.layers.Conv2D(layer.filters, 3, padding="same", use_bias=False, name=layer.name)
        if isinstance(layer, FusedBatchNorm):
            return keras.layers.BatchNormalization(momentum=layer.momentum, name=layer.name)
        return layer.__class__.from_config(layer.get_config()) if layer.weights else layer

    return keras.models.clone_model(network, clone_function=swap)


def make_model(pictures, codes):
    """Return ``cnn`` as a comparison trains it on these pictures."""
    return make_cnn(Setting(pictures.shape[1:], int(codes.max()) + 1, len(pictures), seed=0))


def make_contestants(pictures, codes):
    """Return name -> function without arguments that makes STEPS steps."""
    model, n_classes = make_model(pictures, codes), int(codes.max()) + 1
    plain = Architecture(pictures.shape[1:], n_classes, model.channels, model.pairs, model.dropout)
    statistics = ChannelStatistics.of(pictures)
    order = np.random.default_rng(0).permutation(len(codes))[: STEPS * BATCH].astype(np.int32)
    inputs = ((pictures[order] - statistics.centre) / statistics.spread).astype(np.float32)
    targets = keras.ops.one_hot(codes[order], n_classes)
    best = choose_precision("auto")

    def ours(coarse, precision=best):
        compiled = CompiledTraining(replace(plain, precision=precision))
        compiled.prepare(CONFIG, statistics, np.bincount(codes), 0)
        steps = compiled.compile_steps(coarse)
        data = (
            tf.constant(pictures),
            tf.zeros((len(codes), 0)),
            tf.constant(codes, tf.int32),
            tf.ones(len(codes)),
        )
        rates = np.full(STEPS, 0.1, np.float32)
        return lambda: steps(*data, order.reshape(STEPS, BATCH), rates, np.int32(0), np.int32(0))

    def fit(network):
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
        network.compile(keras.optimizers.AdamW(4e-4, weight_decay=0.05), loss, metrics=["accuracy"])
        return lambda: network.fit(inputs, targets, batch_size=BATCH, shuffle=False, verbose=0)

    return {
        f"our loop, {best}": ours(coarse=False),
        f"our loop, {best}, half resolution": ours(coarse=True),
        "our loop, float32": ours(coarse=False, precision="float32"),
        "Keras fit": fit(of_keras_layers(build_network(plain))),
        f"Keras fit on our layers, {best}": fit(build_network(replace(plain, precision=best))),
    }


def take_turns(contestants):
    """Return name -> CPU seconds and name -> wall seconds, of each round."""
    for run in contestants.values():
        run()
    seconds = {name: [] for name in contestants}
    wall = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            start, wall_start = time.process_time(), time.perf_counter()
            run()
            seconds[name].append(time.process_time() - start)
            wall[name].append(time.perf_counter() - wall_start)
    return seconds, wall


class StepOfFit(keras.Model):
    """The step of our loop as Keras' ``fit`` calls it."""

    def __init__(self, loop, data, coarse):
        super().__init__()
        self.loop, self.rows, self.coarse = loop, data, coarse
        self.means = [keras.metrics.Mean(name) for name in ("loss", "accuracy")]

    @property
    def metrics(self):
        return self.means

    def train_step(self, inputs):
        order, share, step = inputs
        batch = [tf.gather(values, order) for values in self.rows]
        values = self.loop.one_step(batch, share, step, tf.constant(graph_seed()), self.coarse)
        for mean, value in zip(self.means, values, strict=True):
            mean.update_state(value)
        return self.get_metrics_result()


def graph_seed():
    """Return what `CompiledTraining.train` draws augmentation from at seed 0."""
    return int(np.random.SeedSequence(0).generate_state(1)[0] >> 1)


class Fits:
    """Whole fits of a network by our loop, or by Keras' ``fit`` with so many steps in a call of the graph."""

    def __init__(self, model, table, per_call=None):
        self.config = TrainingConfig(**{f.name: getattr(model, f.name) for f in fields(TrainingConfig)})
        pictures, codes = to_images(np.asarray(table.pixels), table.shape), np.asarray(table.labels)
        self.rows = Rows(pictures, np.zeros((len(codes), 0), np.float32), codes)
        self.statistics = ChannelStatistics.of(pictures)
        self.coarse_steps = round(model.coarse_share * model.steps) if min(table.shape[:2]) >= 24 else 0
        precision = choose_precision("auto")
        self.compiled = CompiledTraining(
            Architecture(table.shape, 7, model.channels, model.pairs, precision=precision)
        )
        self.per_call, self.models = per_call, {}

    def fit(self):
        """Train from the start; return the weights."""
        if self.per_call is None:
            weights = np.ones(len(self.rows.codes))
            return self.compiled.train(self.config, self.statistics, self.rows, weights, seed=0)[1]
        config, codes = self.config, self.rows.codes
        self.compiled.prepare(config, self.statistics, np.bincount(codes), 0)
        order = draw_batches(codes, config.steps, config.batch_size, None, np.random.default_rng([0, 0]))
        every = order, one_cycle(config.steps), np.arange(config.steps, dtype=np.int32)
        for coarse, part in ((True, slice(self.coarse_steps)), (False, slice(self.coarse_steps, None))):
            data = tf.data.Dataset.from_tensor_slices(tuple(values[part] for values in every))
            if len(data):
                options = tf.data.Options()
                options.threading.private_threadpool_size, options.autotune.enabled = 1, False
                self._model(coarse).fit(
                    data.with_options(options),
                    epochs=len(data) // EPOCH,
                    steps_per_epoch=EPOCH,
                    verbose=0,
                )
        return self.compiled.ensemble.get_weights()

    def _model(self, coarse):
        if coarse not in self.models:
            rows = self.rows
            values = (
                rows.pictures,
                rows.features,
                rows.codes.astype(np.int32),
                np.ones(len(rows.codes), "f4"),
            )
            self.models[coarse] = StepOfFit(self.compiled, [tf.Variable(one) for one in values], coarse)
            self.models[coarse].compile(jit_compile=False, steps_per_execution=self.per_call)
        return self.models[coarse]


def compare_fits():
    """Print and append CPU seconds of whole fits, and how many times those of our loop the others take."""
    print(f"{'':34} {'first fit':>10} {'later fits':>11} {'against our loop, turn by turn':>32}")
    results = Path(__file__).with_name("training_loop_fits.csv")
    for name, make, side in NETWORKS:
        table = make_lesions(2000, size=side, random_state=0)
        model = make(Setting(table.shape, 7, len(table), 0)).set_params(
            steps=FIT_STEPS, points=FIT_STEPS // EPOCH, coarse_share=0.5
        )
        contestants = {
            "our loop": Fits(model, table),
            "Keras fit, a step a call": Fits(model, table, 1),
            f"Keras fit, {EPOCH} steps a call": Fits(model, table, EPOCH),
        }
        seconds = {contestant: [] for contestant in contestants}
        reference = None
        for turn in range(1 + TURNS):
            for contestant, fits in contestants.items():
                start = time.process_time()
                weights = fits.fit()
                seconds[contestant].append(time.process_time() - start)
                with results.open("a", newline="", encoding="utf-8") as file:
                    row = name, contestant, FIT_STEPS, turn, f"{seconds[contestant][-1]:.2f}"
                    csv.writer(file, lineterminator="\n").writerow(row)
                reference = weights if reference is None else reference
                assert all(map(np.array_equal, weights, reference)), "the weights differ"
        ours = np.array(seconds["our loop"])
        for contestant, (first, *later) in seconds.items():
            ratios = " ".join(f"{ratio:.2f}" for ratio in later / ours[1:])
            print(
                f"{name + ': ' + contestant:34} {first:10.2f} {np.median(later):11.2f} {ratios:>32}",
                flush=True,
            )


def main():
    if sys.argv[1:] == ["--fits"]:
        compare_fits()
        return
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (8012, 28, 28, 3), dtype=np.uint8)
    codes = rng.integers(0, 7, len(pictures))
    if len(sys.argv) > 1:
        table = load_hmnist(sys.argv[1])
        chosen = rng.permutation(len(table))[:8012]
        pictures, codes = to_images(table.pixels[chosen], table.shape), table.labels[chosen]
    seconds, wall = take_turns(make_contestants(pictures, codes))
    print(
        f"{'':38} {'steps per core-second':>22} {'per second':>11} {'against fit':>12} {'worst wall s':>13}"
    )
    keras_wall = np.median(wall["Keras fit"])
    for name, times in seconds.items():
        rate, wall_rate = STEPS / np.median(times), STEPS / np.median(wall[name])
        ratio = keras_wall / np.median(wall[name])
        print(f"{name:38} {rate:22.1f} {wall_rate:11.1f} {ratio:11.2f}x {max(wall[name]):13.2f}")
    model = make_model(pictures, codes)
    start = time.process_time()
    model.fit(pictures.reshape(len(pictures), -1), codes)
    ours = time.process_time() - start
    plain = model.steps / STEPS * np.median(seconds["Keras fit"])
    print(f"cnn, {model.steps} steps: {ours:.1f} core-seconds; as many steps of Keras fit: {plain:.1f}")


if __name__ == "__main__":
    main()
