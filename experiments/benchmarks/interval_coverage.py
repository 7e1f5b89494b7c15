"""Print how often the bootstrap intervals over lesions hold the true score, on simulated tables.

python experiments/benchmarks/interval_coverage.py [--tables 500] [--lesions 1500] [--draws 1000]

A table is drawn from a population in which everything is known: classes as in HAM10000, one to three
pictures of a lesion that look alike, five trained models that are not calibrated alike. The true score is the
mean over 4,000 other tables of the same size. Of the 95 % intervals, 92 to 98 % should hold it.
"""

import argparse
import time

import numpy as np
import pandas as pd

from skinmnist.analysis.bootstrap import bootstrap_scores, intervals
from skinmnist.facts import CLASS_NAMES, LESIONS_PER_CLASS

FOLDS = 5
TRUTH_TABLES = 4000


def simulate_predictions(n_lesions: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw the held-out predictions of one pair on a new table, and the lesion of each row."""
    shares = np.divide(LESIONS_PER_CLASS, sum(LESIONS_PER_CLASS))
    k = len(shares)
    every_class = np.arange(k).repeat(FOLDS)
    of_lesion = np.concatenate([every_class, rng.choice(k, n_lesions - len(every_class), p=shares)])
    fold_of = np.empty(n_lesions, dtype=int)
    for code in range(k):
        own = np.flatnonzero(of_lesion == code)
        fold_of[own] = (rng.permutation(len(own)) + rng.integers(FOLDS)) % FOLDS
    lesions = np.arange(n_lesions).repeat(rng.choice([1, 2, 3], n_lesions, p=[0.73, 0.2, 0.07]))
    labels, fold = of_lesion[lesions], fold_of[lesions]
    look = rng.normal(size=(n_lesions, k))[lesions]
    view = rng.normal(size=(len(lesions), k))
    logits = 0.9 * look + 0.5 * view + 1.6 * np.eye(k)[labels] + 0.7 * np.log(shares)
    logits *= np.linspace(0.7, 1.3, FOLDS)[fold][:, None]
    logits += 0.3 * np.sin(np.outer(fold + 1, np.arange(k) + 1))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    frame = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in CLASS_NAMES])
    return frame.assign(
        sampler="none",
        model="simulated",
        repeat=0,
        fold=fold,
        row=np.arange(len(lesions)),
        label=labels,
        predicted=probabilities.argmax(axis=1),
    ), lesions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--lesions", type=int, default=1500)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    started = time.process_time()
    rng = np.random.default_rng(0)
    true = pd.concat(
        bootstrap_scores(simulate_predictions(options.lesions, rng)[0], CLASS_NAMES, draws=0)[
            "none", "simulated"
        ]
        for _ in range(TRUTH_TABLES)
    ).mean()
    found = []
    for table in range(options.tables):
        predictions, lesions = simulate_predictions(options.lesions, rng)
        scores = bootstrap_scores(predictions, CLASS_NAMES, lesions, options.draws, random_state=table)
        found.append(intervals(scores).set_index("metric"))
    print(f"{options.tables} tables of {options.lesions} lesions, {options.draws} draws")
    for metric, value in true.items():
        held = np.mean([frame.low[metric] <= value <= frame.high[metric] for frame in found])
        width = np.mean([frame.high[metric] - frame.low[metric] for frame in found])
        print(f"{metric:18} true {value:.3f}  mean width {width:.3f}  held by {held:.1%}")
    print(f"{time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()
