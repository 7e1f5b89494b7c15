"""Steps per second of our training loop beside those of Keras' ``fit``, on the same network and batches.

Run it as ``python experiments/benchmarks/training_loop.py [TABLE.csv]``; without a table, pictures are drawn
at random, which changes no time. All contestants take turns in one process of one thread; what is printed are
the medians of the rounds and their ratios. Our loop has more to do at each step: it augments the batch and
orthogonalises the kernels' updates, while ``fit`` gets standardised floats and runs AdamW. The last lines are
CPU seconds of one whole fit of ``cnn``, tracing included, and of as many steps of Keras' ``fit``.
"""

import sys
import time

import numpy as np

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.table import to_images
from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.classifier import CNNClassifier
from skinmnist.models.cnn.ensemble import Ensemble, Standard
from skinmnist.models.cnn.layers import Convolution, FusedBatchNorm
from skinmnist.models.cnn.network import build_network
from skinmnist.models.cnn.precision import choose_precision
from skinmnist.models.cnn.training import Recipe, Trainer

ROUNDS, STEPS, BATCH = 5, 50, 128
RECIPE = Recipe(
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
    points=1,
    rate_patience=None,
    stop_patience=None,
)


def of_keras_layers(network):
    """Return the same network with Keras' own convolution and batch normalisation in place of ours."""

    def swap(layer):
        if isinstance(layer, Convolution):
            return keras.layers.Conv2D(layer.filters, 3, padding="same", use_bias=False, name=layer.name)
        if isinstance(layer, FusedBatchNorm):
            return keras.layers.BatchNormalization(momentum=layer.momentum, name=layer.name)
        return layer.__class__.from_config(layer.get_config()) if layer.weights else layer

    return keras.models.clone_model(network, clone_function=swap)


def make_contestants(pictures, codes):
    """Return name -> function without arguments that makes STEPS steps."""
    shape, n_classes = pictures.shape[1:], int(codes.max()) + 1
    standard = Standard.of(pictures)
    order = np.random.default_rng(0).permutation(len(codes))[: STEPS * BATCH].astype(np.int32)
    inputs = ((pictures[order] - standard.centre) / standard.spread).astype(np.float32)
    targets = keras.ops.one_hot(codes[order], n_classes)
    best = choose_precision("auto")

    def ours(coarse, precision=best):
        experts = Ensemble(shape, standard, build_network(shape, n_classes, precision=precision))
        steps = Trainer(experts, RECIPE, np.bincount(codes)).steps(coarse)
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
        "Keras fit": fit(of_keras_layers(build_network(shape, n_classes))),
        f"Keras fit on our layers, {best}": fit(build_network(shape, n_classes, precision=best)),
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


def main():
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
    model = CNNClassifier(pictures.shape[1:])
    start = time.process_time()
    model.fit(pictures.reshape(len(pictures), -1), codes)
    ours = time.process_time() - start
    plain = model.steps / STEPS * np.median(seconds["Keras fit"])
    print(f"cnn, {model.steps} steps: {ours:.1f} core-seconds; as many steps of Keras fit: {plain:.1f}")


if __name__ == "__main__":
    main()
