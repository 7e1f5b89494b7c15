"""Of labels flipped on purpose, how many stand at the head of the audit's list?

    python experiments/benchmarks/label_audit.py [ROWS]

On the synthetic table, whose true labels are known, 5 % of the labels are moved to another class at random;
models are cross-validated on them by lesion, and the mean of their held-out probabilities is audited. Printed
for five seeds: the share of the flipped labels among the first 10 % of the list.
"""

import sys
from dataclasses import replace

import numpy as np

from skinmnist import make_lesions, run_comparison
from skinmnist.experiment.audit import label_audit

FLIPPED, HEAD, SEEDS, MODELS = 0.05, 0.10, range(5), ["svm", "hist_gradient_boosting"]


def flip_labels(labels, n_classes, share, seed):
    """Return labels of which a share is moved to another class, and which rows these are."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(labels), round(share * len(labels)), replace=False)
    flipped = labels.copy()
    flipped[rows] = (labels[rows] + rng.integers(1, n_classes, len(rows))) % n_classes
    return flipped, rows


def main(n_rows):
    found = []
    for seed in SEEDS:
        table = make_lesions(n_rows, random_state=seed)
        labels, rows = flip_labels(table.labels, len(table.class_names), FLIPPED, seed)
        noisy = replace(table, labels=labels)
        run = run_comparison(noisy, ["none"], MODELS, folds=5, seed=seed, jobs=2)
        head = label_audit(run.results, table.class_names)["row"].head(round(HEAD * n_rows))
        found.append(np.isin(rows, head).mean())
        print(
            f"seed {seed}: {found[-1]:.3f} of {len(rows)} flipped labels among the first {len(head)}",
            flush=True,
        )
    print(
        f"mean {np.mean(found):.3f}, least {min(found):.3f} "
        f"({n_rows} rows, {' and '.join(MODELS)}, {FLIPPED:.0%} flipped)"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2500)
