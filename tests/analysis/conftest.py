"""Predictions that nobody trained for, in the layout of ``predictions.csv.gz``."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from fake_runs import fake_run, make_run, record

__all__ = ["fake_run", "make_run", "record"]

NAMES = ("nv", "bkl", "mel")


def invent_predictions(
    n_lesions: int = 90, folds: int = 3, repeats: int = 1, digits: int = 2, seed: int = 0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return predictions of three pairs, and the lesion of each row of the table.

    Rounded probabilities make ties, within classes and between them; rows of a lesion are scattered.
    """
    rng = np.random.default_rng(seed)
    of_lesion = np.concatenate(
        [np.arange(3).repeat(2 * folds), rng.choice(3, n_lesions, p=[0.6, 0.25, 0.15])]
    )
    lesions = rng.permutation(np.arange(len(of_lesion)).repeat(rng.integers(1, 4, len(of_lesion))))
    labels = of_lesion[lesions]
    frames = []
    for repeat in range(repeats):
        fold_of = np.empty(len(of_lesion), dtype=int)
        for code in range(3):
            own = np.flatnonzero(of_lesion == code)
            fold_of[own] = rng.permutation(len(own)) % folds
        for sampler, model in (("none", "svm"), ("SMOTE", "svm"), ("none", "cnn")):
            logits = rng.normal(size=(len(lesions), 3)) + np.eye(3)[labels] + 0.7 * rng.normal(size=3)
            probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).round(digits)
            frame = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in NAMES])
            frame = frame.assign(
                sampler=sampler,
                model=model,
                repeat=repeat,
                fold=fold_of[lesions],
                row=np.arange(len(lesions)),
                label=labels,
                predicted=(probabilities + rng.normal(0, 0.05, probabilities.shape)).argmax(axis=1),
            )
            frames.append(frame.sort_values(["fold", "row"]))
    return pd.concat(frames, ignore_index=True), lesions


@pytest.fixture(scope="session")
def invented() -> Callable[..., tuple[pd.DataFrame, np.ndarray]]:
    return invent_predictions
