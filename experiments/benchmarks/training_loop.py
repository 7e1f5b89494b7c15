"""Steps per second of our training loop beside those of Keras' ``fit``, on the same network and batches.

Run it as ``python experiments/benchmarks/training_loop.py [TABLE.csv]``; without a table, pictures are drawn
at random, which changes no time. All contestants take turns in one process of one thread; what is printed are
the medians of the rounds and their ratios. Our loop has more to do at each step: it augments the batch and
orthogonalises the kernels' updates, while ``fit`` gets standardised floats and runs Adam.
"""

import sys
import time

import numpy as np

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.table import to_images
from skinmnist.models.backend import keras, tf
from skinmnist.models.losses import make_loss
from skinmnist.models.networks import FusedBatchNorm, build_network
from skinmnist.models.optimizers import MuonAdam
from skinmnist.models.training import Recipe, Standard, compile_steps

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
)


def with_keras_normalisation(network):
    """Return the same network with Keras' own batch normalisation in place of the fused one."""

    def swap(layer):
        if isinstance(layer, FusedBatchNorm):
            return keras.layers.BatchNormalization(momentum=layer.momentum, name=layer.name)
        return layer.__class__.from_config(layer.get_config()) if layer.weights else layer

    return keras.models.clone_model(network, clone_function=swap)


def make_contestants(pictures, codes):
    """Return name -> function without arguments that makes STEPS steps."""
    shape, n_classes = pictures.shape[1:], int(codes.max()) + 1
    standard = Standard.of(pictures)
    order = np.random.default_rng(0).permutation(len(codes))[: STEPS * BATCH].astype(np.int32)
    inputs = standard.apply(pictures[order]).numpy()
    targets = keras.ops.one_hot(codes[order], n_classes)

    def ours(coarse):
        network = build_network(shape, n_classes)
        optimizer = MuonAdam(
            network.trainable_variables,
            learning_rate=RECIPE.learning_rate,
            weight_decay=RECIPE.weight_decay,
            kernel_rate=RECIPE.kernel_rate,
            kernel_decay=RECIPE.kernel_decay,
        )
        loss = make_loss(RECIPE.loss, np.bincount(codes), RECIPE.label_smoothing)
        steps = compile_steps(network, optimizer, loss, standard, RECIPE, shape, 0, coarse)
        data = tf.constant(pictures), tf.constant(codes, tf.int32), tf.ones(len(codes))
        rates = np.full(STEPS, 0.1, np.float32)
        return lambda: steps(*data, order.reshape(STEPS, BATCH), rates, np.int32(0))

    def fit(network):
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
        network.compile(keras.optimizers.AdamW(4e-4, weight_decay=0.05), loss, metrics=["accuracy"])
        return lambda: network.fit(inputs, targets, batch_size=BATCH, shuffle=False, verbose=0)

    return {
        "our loop": ours(coarse=False),
        "our loop, half resolution": ours(coarse=True),
        "Keras fit": fit(build_network(shape, n_classes)),
        "Keras fit, Keras' normalisation": fit(with_keras_normalisation(build_network(shape, n_classes))),
    }


def main():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (STEPS * BATCH, 28, 28, 3), dtype=np.uint8)
    codes = rng.integers(0, 7, len(pictures))
    if len(sys.argv) > 1:
        table = load_hmnist(sys.argv[1])
        pictures, codes = np.ascontiguousarray(to_images(table.pixels, table.shape)), table.labels
    contestants = make_contestants(pictures, codes)
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
    reference = np.median(seconds["our loop"])
    print(
        f"{'':34} {'steps per core-second':>22} {'CPU time / ours':>16} {'wall seconds: median, worst':>28}"
    )
    for name, times in seconds.items():
        median = np.median(times)
        print(
            f"{name:34} {STEPS / median:22.1f} {median / reference:16.2f} "
            f"{np.median(wall[name]):20.2f} {max(wall[name]):7.2f}"
        )


if __name__ == "__main__":
    main()
