"""Trials of the network's parameters on the 28x28 table: what was kept, and what lost.

Run it as ``python experiments/benchmarks/cnn_trials.py --table TABLE.csv NAME ...`` for one or more of the
trials below, each on one fold; the rows are appended to ``cnn_trials.csv`` beside this file. The folds are
drawn with another seed than those of reported results. ``sqrt`` repeats rows until the classes stand to each
other as the square roots of their frequencies; strategies of the network have their own names. Seconds are
CPU seconds of ``fit`` on one thread, tracing included; differences under .01 are noise. Rows named "study:
..." were measured while the network grew, on a machine under load; the column ``changes`` says how they
differed from the defaults of then. Folds of the same seed were other ones before the rows of a third stage
of 64 channels: compare these with the others only in the mean of all five. Rows with ``sqrt_batches`` and
below them compute in bfloat16. In the last rows, from "study: plain stem" on, the area under the curve is at
the natural prior, ``rate`` is the share of rising steps and the shape of the fall, and ``white basis from``
is the variance added to each channel. Where the fold is a range, the row is the mean of those folds, as
`skinmnist.compare` draws them with that seed; where the seed is a range, too, also of those seeds.
"""

import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from trials import keep_row, measured, read_options, split_rows

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.models.cnn.classifier import CNNClassifier

RESULTS = Path(__file__).with_name("cnn_trials.csv")

THOROUGH = {
    "channels": (48, 96, 128),
    "pairs": (0, 2, 1),
    "steps": 2400,
    "colour_spread": 0.1,
    "max_shift": 3,
    "dropout": 0.4,
    "feature_layers": (256,),
}
STRATEGIES = ("sqrt_batches", "balanced_batches")

TRIALS = {
    "as shipped": {},
    "kernels under Adam": {"kernel_rate": None},
    "kernel rate doubled": {"kernel_rate": 0.2},
    "kernel rate halved": {"kernel_rate": 0.05},
    "all steps at full resolution": {"coarse_share": 0.0, "steps": 450},
    "batches of 64": {"batch_size": 64, "steps": 1400},
    "two stages": {"channels": (32, 64), "pairs": (0, 2)},
    "two stages, pairs in both": {"channels": (32, 64), "pairs": (1, 1), "steps": 650},
    "pair in the first stage": {"channels": (32, 64, 96), "pairs": (1, 1, 1), "steps": 560},
    "wider third stage": {"channels": (32, 64, 128), "pairs": (0, 1, 1)},
    "colour spread .2": {"colour_spread": 0.2},
    "colour spread .1": {"colour_spread": 0.1},
    "shifts up to 3 pixels": {"max_shift": 3},
    "colour spread 0": {"colour_spread": 0.0},
    "dropout .5": {"dropout": 0.5},
    "label smoothing .1": {"label_smoothing": 0.1},
    "label smoothing 0": {"label_smoothing": 0.0},
    "950 steps": {"steps": 950},
    "600 steps": {"steps": 600},
    "500 steps": {"steps": 500},
    "600 steps, more at half resolution": {"steps": 600, "coarse_share": 0.7},
    "third stage of 64 channels": {"channels": (32, 64, 64)},
    "the same, 640 steps, dropout .15": {"channels": (32, 64, 64), "steps": 640, "dropout": 0.15},
    "the same, 560 steps, dropout .1": {"channels": (32, 64, 64), "steps": 560, "dropout": 0.1},
    "white stem, linear fall, 420 steps": {"channels": (32, 64, 64), "steps": 420, "dropout": 0.1},
    "no pairs, 860 steps": {"channels": (32, 48, 64), "pairs": (0, 0, 0), "steps": 860, "dropout": 0.1},
    "float32": {"precision": "float32"},
    "with a feature network": {"feature_layers": (256,)},
    "thorough, pixels only": THOROUGH | {"feature_layers": ()},
    "thorough": THOROUGH,
}


def square_root_rows(codes, random_state):
    """Row numbers in which rare classes are repeated up to the square root of the imbalance."""
    counts = np.bincount(codes)
    wanted = np.sqrt(counts * counts.max()).round().astype(int)
    extra = [
        random_state.choice(np.flatnonzero(codes == code), wanted[code] - count)
        for code, count in enumerate(counts)
    ]
    return np.concatenate([np.arange(len(codes)), *extra])


def run_trial(table, changes, options):
    """Fit and score one fold; return the measured columns of the table of trials."""
    train, test = split_rows(table, options)
    if options.sampler == "sqrt":
        train = train[square_root_rows(table.labels[train], np.random.default_rng(0))]
    balance = options.sampler if options.sampler in STRATEGIES else None
    model = CNNClassifier(table.shape, **changes, balance=balance)
    start = time.process_time()
    model.fit(table.pixels[train], table.labels[train])
    seconds = time.process_time() - start
    probabilities, truth = model.predict_proba(table.pixels[test]), table.labels[test]
    area = roc_auc_score(truth, probabilities, multi_class="ovr")
    return measured(seconds, truth, probabilities.argmax(axis=1), area)


def main():
    options = read_options(__doc__.splitlines()[0], list(TRIALS), ["none", "sqrt", *STRATEGIES])
    table = load_hmnist(options.table)
    for name in options.names:
        changes = " ".join(f"{key}={value}".replace(" ", "") for key, value in TRIALS[name].items())
        keep_row(RESULTS, options, name, changes, run_trial(table, TRIALS[name], options))


if __name__ == "__main__":
    main()
