"""Predictions that nobody trained for, in the layout of ``predictions.csv.gz``."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from described import invent_info
from fake_runs import fake_run, make_run, record

from skinmnist.experiment.cells import Cell, CellResult, Timing
from skinmnist.experiment.metrics import score_predictions
from skinmnist.experiment.run_folder.record import RunRecord, predictions_table, timings_table

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


@pytest.fixture
def make_record(invented, tmp_path):
    """Put invented predictions into a record, as if they had been read from a folder."""

    def make(keep=lambda cell: True, **options):
        predictions, _ = invented(digits=15, **options)
        results = []
        for key, rows in predictions.groupby(list(Cell._fields), sort=False):
            cell = Cell(*key)
            if not keep(cell):
                continue
            others = predictions[(predictions["repeat"] == cell.repeat) & (predictions["fold"] != cell.fold)]
            counts = np.bincount(others.drop_duplicates("row")["label"], minlength=3).astype(float)
            probabilities = rows[[f"p_{name}" for name in NAMES]].to_numpy()
            results.append(
                CellResult(
                    cell=cell,
                    rows=rows["row"].to_numpy(),
                    labels=rows["label"].to_numpy(),
                    probabilities=probabilities / probabilities.sum(axis=1, keepdims=True),
                    timing=Timing(1, 1, 0.0, 0.0, 0.0, 0.0),
                    counts_before=counts,
                    counts_after=counts,
                    natural_mix=counts / counts.sum(),
                    training_mix=counts / counts.sum(),
                )
            )
        table = predictions_table(results, NAMES)
        return RunRecord(
            folder=tmp_path,
            info=invent_info(
                table={"class_names": list(NAMES), "rows": int(predictions["row"].max()) + 1},
                protocol={"folds": 3},
                seed=5,
            ),
            results=tuple(results),
            failures=(),
            predictions=table,
            scores=score_predictions(table, NAMES),
            timings=timings_table(results),
            pictures=np.zeros((0, 1, 1, 3), np.uint8),
            picture_labels=np.zeros(0, np.int64),
        )

    return make
