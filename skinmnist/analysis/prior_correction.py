"""Prior correction, a free control: the same trained models, with the class frequencies divided out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.analysis.significance import ROUNDING
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.metrics import score_predictions
from skinmnist.experiment.run_folder.record import RunRecord

#: The ``sampler`` of its rows.
PRIOR_CORRECTION = "prior_correction"


def prior_corrected(
    probabilities: npt.NDArray[np.float64], class_counts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the probabilities that every class would have if all classes were equally frequent.

    By Bayes' rule: divide by the frequencies of training, and scale to sum 1 (Saerens, Latinne &
    Decaestecker, Neural Computation 14, 2002; "threshold moving" in Collell, Prelec & Patil, Neurocomputing
    275, 2018, and post-hoc logit adjustment in Menon et al., ICLR 2021).

    Parameters
    ----------
    probabilities : ndarray of shape (m, k), float
    class_counts : ndarray of shape (k,), float
        Training rows of each class. A class without any counts as seen once.
    """
    adjusted = probabilities / np.maximum(class_counts, 1)
    return adjusted / adjusted.sum(axis=1, keepdims=True)


def prior_corrected_predictions(record: RunRecord) -> pd.DataFrame:
    """Correct the held-out probabilities of every model that was trained without a sampler.

    In the layout of ``predictions.csv.gz``, with `PRIOR_CORRECTION` as the sampler; the decision is the most
    probable class after the correction, among equals the one that was most probable before. The frequencies
    are those of the rows that the cell was trained on; nothing is learnt from the rows that it held out.

    The correction is as good as the probabilities: where a model cannot say "one in a thousand", as after
    label smoothing, dividing by the frequency of a rare class makes too much of it.
    """
    counts = {result.cell: result.counts_before for result in record.results}
    return correct_priors(record.predictions, record.info.table.class_names, counts)


def correct_priors(
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    counts: Mapping[Cell, npt.NDArray[np.float64]],
) -> pd.DataFrame:
    """Correct as `prior_corrected_predictions` does, from predictions and the class counts of each cell."""
    columns = [f"p_{name}" for name in class_names]
    frames = [predictions.iloc[:0]]
    plain = predictions[predictions["sampler"] == "none"]
    for key, rows in plain.groupby(list(Cell._fields), sort=False):
        probabilities = rows[columns].to_numpy(dtype=float)
        corrected = prior_corrected(probabilities, counts[cast(Cell, key)])
        # A model that always answers the frequencies is left with ties, and rounding must not decide them.
        ahead = corrected >= corrected.max(axis=1, keepdims=True) - ROUNDING
        decisions = np.where(ahead, probabilities, -1.0).argmax(axis=1)
        frame = rows.assign(sampler=PRIOR_CORRECTION, predicted=decisions)
        frame[columns] = corrected
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def prior_corrected_scores(record: RunRecord) -> pd.DataFrame:
    """Score the corrected predictions, in the layout of ``scores.csv``."""
    return score_predictions(prior_corrected_predictions(record), record.info.table.class_names)
