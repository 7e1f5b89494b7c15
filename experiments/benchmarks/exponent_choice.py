"""How much a tuned rule lifts its own score: exponents chosen on the other folds, judged on a fresh test set.

python experiments/benchmarks/exponent_choice.py [--tables 300] [--rows 10015]

Tables of seven classes with the frequencies of HAM10000: heavy-tailed clouds, which linear discriminants,
fitted anew in each of five folds, answer too surely. The exponent of a fold is chosen in three ways: on the
pooled held-out rows of the other folds, as the tuned rules do; by the mean score of the other folds; and, as
a warning, on the very fold that is reported. Lift is the reported score minus the score of the same model
with the same exponent on as many fresh rows; the same difference at a fixed exponent, which has no lift, is
taken off to make it less noisy.
"""

import argparse
import time

import numpy as np

from skinmnist import facts
from skinmnist.experiment.cells import Cell, CellResult, Timing
from skinmnist.experiment.derived.tuning import EXPONENTS, choose_exponents, counts_by_exponent
from skinmnist.experiment.metrics import balanced_accuracy, macro_f1

FOLDS, COLUMNS, FIXED = 5, 8, len(EXPONENTS) // 3
SHARES = np.array(facts.ROWS_PER_CLASS) / sum(facts.ROWS_PER_CLASS)
METRICS = {"macro_f1": macro_f1, "balanced_accuracy": balanced_accuracy}
WAYS = ("other folds, pooled", "other folds, mean of scores", "the reported fold itself")


def draw_rows(centres, n, rng):
    """Draw labels and rows; every class comes at least twice in each fold."""
    labels = np.concatenate([np.arange(len(SHARES)).repeat(2), rng.choice(len(SHARES), n, p=SHARES)])[:n]
    return labels, centres[labels] + rng.standard_t(4, (n, centres.shape[1]))


def fit_discriminants(labels, rows):
    """Return a function of rows to the probabilities of classes with one covariance."""
    mix = np.bincount(labels) / len(labels)
    means = np.stack([rows[labels == code].mean(axis=0) for code in range(len(mix))])
    weights = np.linalg.solve(np.cov((rows - means[labels]).T), means.T)
    offsets = np.log(mix) - 0.5 * (means * weights.T).sum(axis=1)

    def answer(unseen):
        logits = unseen @ weights + offsets
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    return answer, mix


def count_table(n, rng):
    """Cross-validate one table; return counts by exponent of its folds, and of fresh rows for each fold."""
    centres = rng.normal(0, 1.1, (len(SHARES), COLUMNS))
    parts = [draw_rows(centres, n // FOLDS, rng) for _ in range(FOLDS)]
    own, fresh = [], []
    for fold in range(FOLDS):
        labels, rows = (
            np.concatenate(list(v)) for v in zip(*(parts[:fold] + parts[fold + 1 :]), strict=True)
        )
        answer, mix = fit_discriminants(labels, rows)
        for found, (true, unseen) in ((own, parts[fold]), (fresh, draw_rows(centres, n // FOLDS, rng))):
            cell = Cell("none", "discriminants", 0, fold)
            timing = Timing(len(labels), len(labels), 0.0, 0.0, 0.0, 0.0)
            answers = (np.arange(len(true)), true, answer(unseen))
            found.append(counts_by_exponent(CellResult(cell, *answers, timing, mix, mix, mix, mix)))
    return np.stack(own), np.stack(fresh)


def choose(own, metric):
    """Return the place of each fold's exponent, shape (ways, folds)."""
    chosen = choose_exponents(own)
    scores = METRICS[metric](own)
    pooled = [int(np.flatnonzero(of_fold[f"tuned_{metric}"] == EXPONENTS)[0]) for of_fold in chosen]
    return np.stack([pooled, (scores.sum(axis=0) - scores).argmax(axis=1), scores.argmax(axis=1)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--rows", type=int, default=10015)
    options = parser.parse_args()
    started, rng, folds = time.process_time(), np.random.default_rng(0), np.arange(FOLDS)
    lifts = {(metric, way): [] for metric in METRICS for way in WAYS}
    for _ in range(options.tables):
        own, fresh = count_table(options.rows, rng)
        for metric, scored in METRICS.items():
            gaps, true = scored(own) - scored(fresh), scored(fresh)
            for way, places in zip(WAYS, choose(own, metric), strict=True):
                lift = (gaps[folds, places] - gaps[:, FIXED]).mean()
                lifts[metric, way].append((lift, true[folds, places].mean(), EXPONENTS[places].std()))
    print(f"{options.tables} tables of {options.rows:,} rows, {FOLDS} folds\n")
    print("| score | exponent chosen on | lift ± standard error | score on fresh rows | sd of the exponent |")
    print("|---|---|---|---|---|")
    for (metric, way), found in lifts.items():
        lift, true, spread = np.mean(found, axis=0)
        error = np.std(found, axis=0, ddof=1)[0] / len(found) ** 0.5
        print(f"| {metric} | {way} | {lift:+.4f} ± {error:.4f} | {true:.4f} | {spread:.3f} |")
    print(f"\n{time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()
