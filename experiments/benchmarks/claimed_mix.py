"""Whether the probabilities of each pair of a run refer to the class mix that prior correction assumes.

``python experiments/benchmarks/claimed_mix.py RUN`` weights the held-out rows of every cell to the mix of its
training, averages the probability of each class over them, and divides it by the share of the class in that
mix. A calibrated model gives 1 for every class; a model for another mix gives the ratio of the two mixes.
Label smoothing alone raises rare classes: it gives .05 / 7 of every label to each of seven classes. The table
shows the mean over folds.
"""

import sys

import numpy as np
import pandas as pd

from skinmnist import read_run


def ratios(result):
    """Return the mean probability of each class over rows of the claimed mix, divided by its share."""
    mix = result.training_mix
    counts = np.bincount(result.labels, minlength=len(mix))
    weights = (mix / counts.clip(1))[result.labels]
    return (weights @ result.probabilities) / weights.sum() / mix


def main():
    run = read_run(sys.argv[1])
    found = pd.DataFrame(
        [(*result.cell[:2], *ratios(result)) for result in run.results],
        columns=["sampler", "model", *run.info.table.class_names],
    )
    print(found.groupby(["sampler", "model"], sort=False).mean().round(2).to_string())


if __name__ == "__main__":
    main()
