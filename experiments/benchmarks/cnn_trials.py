"""Trials of the network's parameters on the 28x28 table: what was kept, and what lost.

Run it as ``python experiments/benchmarks/cnn_trials.py --table TABLE.csv NAME ...`` for one or more of the
trials below, each on one fold; the rows are appended to ``cnn_trials.csv`` beside this file. The folds are
drawn with another seed than those of reported results. ``sqrt`` repeats rows until the classes stand to each
other as the square roots of their frequencies; remedies of the network have their own names. Seconds are CPU
seconds of ``fit`` on one thread, tracing included; differences under .01 are noise. Rows named "study: ..."
were measured while the network grew, on a machine under load; the column ``changes`` says how they differed
from the defaults of then. Rows with ``sqrt_batches`` and below them compute in bfloat16.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.models.cnn import CNNClassifier

RESULTS = Path(__file__).with_name("cnn_trials.csv")

THOROUGH = {
    "channels": (48, 96, 128),
    "pairs": (0, 2, 1),
    "steps": 2400,
    "colour_spread": 0.1,
    "max_shift": 3,
    "dropout": 0.4,
    "describer": (256,),
}
REMEDIES = ("sqrt_batches", "balanced_batches")

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
    "float32": {"precision": "float32"},
    "with a describer": {"describer": (256,)},
    "thorough, pixels only": THOROUGH | {"describer": ()},
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


def run_trial(table, changes, sampler, fold, fold_seed):
    """Fit and score one fold; return the measured columns of the table of trials."""
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=fold_seed)
    train, test = list(folds.split(table.pixels, table.labels, table.lesion_ids))[fold]
    if sampler == "sqrt":
        train = train[square_root_rows(table.labels[train], np.random.default_rng(0))]
    balance = sampler if sampler in REMEDIES else None
    model = CNNClassifier(table.shape, **changes, balance=balance)
    start = time.process_time()
    model.fit(table.pixels[train], table.labels[train])
    seconds = time.process_time() - start
    probabilities, truth = model.predict_proba(table.pixels[test]), table.labels[test]
    predicted = probabilities.argmax(axis=1)
    return {
        "core_seconds": round(seconds, 1),
        "accuracy": round(accuracy_score(truth, predicted), 4),
        "balanced_accuracy": round(balanced_accuracy_score(truth, predicted), 4),
        "macro_f1": round(f1_score(truth, predicted, average="macro", zero_division=0), 4),
        "macro_auc": round(roc_auc_score(truth, probabilities, multi_class="ovr"), 4),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=list(TRIALS), metavar="NAME", help="; ".join(TRIALS))
    parser.add_argument(
        "--table", type=Path, required=True, help="hmnist_28_28_RGB.csv, its metadata beside it"
    )
    parser.add_argument("--sampler", choices=["none", "sqrt", *REMEDIES], default="none")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--fold-seed", type=int, default=1)
    arguments = parser.parse_args()
    table = load_hmnist(arguments.table)
    for name in arguments.names:
        measured = run_trial(table, TRIALS[name], arguments.sampler, arguments.fold, arguments.fold_seed)
        changes = " ".join(f"{key}={value}".replace(" ", "") for key, value in TRIALS[name].items())
        row = {
            "name": name,
            "changes": changes,
            "sampler": arguments.sampler,
            "fold": arguments.fold,
            "fold_seed": arguments.fold_seed,
            **measured,
        }
        print(row, flush=True)
        with RESULTS.open("a", newline="") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
