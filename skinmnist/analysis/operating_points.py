"""Operating points: the predictions of a pair at other class priors, to compare pairs on equal terms.

A sampler changes the class mix that a model is trained at, and with it every probability and decision, even
if the model has learned nothing new. Bayes' rule moves probabilities from one mix to another without training
(Saerens, Latinne & Decaestecker, Neural Computation 14, 2002). A rule defines the target: it gives
probabilities and predicts the class with the largest.

=========================  ===========================================================================
``as_trained``             the stored probabilities
``natural_prior``          at the class mix of the fold's training lesions, before any sampler
``balanced_prior``         as if all classes were equally frequent
``tuned_macro_f1``         at the natural prior divided by a power of itself that is chosen for macro-F1
``tuned_balanced_accuracy``  the same, chosen for balanced accuracy
=========================  ===========================================================================

The power, one of `EXPONENTS`, is the one with the best score on the pooled held-out rows of the other folds
of the same repeat and pair; the smallest in case of a tie. Choosing it by the mean score of these folds would
be as noisy, and every fold would need every class: ``experiments/benchmarks/exponent_choice.py`` measures
both ways and shows that the choice does not inflate the score. If the split has a validation part, the power
is chosen there. Otherwise, a pair with a single finished fold in a repeat has no tuned rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.experiment.cells import Cell, CellResult
from skinmnist.experiment.metrics import (
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    metric_names,
    score,
    score_predictions,
)
from skinmnist.experiment.run_folder.record import RunRecord, predictions_table
from skinmnist.probabilities import EXPONENTS, change_prior, flatten_prior

#: The rules, in the order of ``operating_points.csv``.
RULES = ("as_trained", "natural_prior", "balanced_prior", "tuned_macro_f1", "tuned_balanced_accuracy")
#: The ``sampler`` name of ``balanced_prior`` without a sampler, a control without training cost ("threshold
#: moving": Collell, Prelec & Patil, Neurocomputing 275, 2018; post-hoc logit adjustment: Menon et al., ICLR
#: 2021).
PRIOR_CORRECTION = "prior_correction"

POINT_COLUMNS = (*Cell._fields, "rule", "metric", "value")
_TUNED = {"tuned_macro_f1": macro_f1, "tuned_balanced_accuracy": balanced_accuracy}


def move_prior(result: CellResult, exponent: float) -> CellResult:
    """Return a cell with its probabilities at the natural prior divided by a power of itself."""
    natural = result.natural_mix
    wanted = flatten_prior(natural, exponent)
    return replace(result, probabilities=change_prior(result.probabilities, result.training_mix, wanted))


def choose_exponents(
    counts: Sequence[npt.NDArray[np.int64]], aside: Sequence[npt.NDArray[np.int64]] = ()
) -> list[dict[str, float]]:
    """Choose the exponents of the tuned rules for each cell of one pair and repeat.

    Parameters
    ----------
    counts : sequence of ndarray of shape (exponents, k, k)
        From `counts_by_exponent`, one for each cell.
    aside : sequence of ndarray of shape (exponents, k, k)
        From `validation_counts`: used for the choice in place of the other cells, if every cell has some.

    Returns
    -------
    list of dict of str to float
        By rule; empty if there is nothing to choose on.
    """
    if aside and len(aside) == len(counts):
        tuned_on = np.asarray(aside)
    elif len(counts) > 1:
        tuned_on = np.sum(counts, axis=0) - np.stack(counts)
    else:
        return [{} for _ in counts]
    # Rounded, because equal scores of different counts may differ in the last bit.
    best = {rule: metric(tuned_on).round(12).argmax(axis=1) for rule, metric in _TUNED.items()}
    return [{rule: float(EXPONENTS[best[rule][place]]) for rule in _TUNED} for place in range(len(counts))]


def validation_counts(cells: Sequence[CellResult]) -> list[npt.NDArray[np.int64]]:
    """Return `counts_by_exponent` of the validation part of each cell that has one."""
    aside = [(cell, cell.validation) for cell in cells if cell.validation is not None]
    return [
        counts_by_exponent(replace(cell, labels=part.labels, probabilities=part.probabilities))
        for cell, part in aside
    ]


def counts_by_exponent(result: CellResult) -> npt.NDArray[np.int64]:
    """Count held-out rows by true and predicted class at each of `EXPONENTS`, shape (exponents, k, k)."""
    k = len(result.natural_mix)
    moved = (move_prior(result, exponent).predicted for exponent in EXPONENTS)
    return np.stack([confusion_matrix(result.labels, predicted, k) for predicted in moved])


def operating_points(results: Sequence[CellResult], class_names: Sequence[str]) -> pd.DataFrame:
    """Score every cell under every rule: `POINT_COLUMNS`, all metrics of `score`, in the order of the cells.

    The rows of ``as_trained`` are those of ``scores.csv``. Cells of one pair and repeat must be adjacent.
    """
    order, records = metric_names(class_names), []
    for _, group in groupby(results, key=lambda result: result.cell[:3]):
        cells = list(group)
        counts = [counts_by_exponent(result) for result in cells]
        exponents = choose_exponents(counts, validation_counts(cells))
        for result, chosen in zip(cells, exponents, strict=True):
            scores = {"as_trained": _score(result, class_names)}
            by_exponent: dict[float, dict[str, float]] = {}
            for rule, exponent in {"natural_prior": 0.0, "balanced_prior": 1.0, **chosen}.items():
                if exponent not in by_exponent:
                    by_exponent[exponent] = _score(move_prior(result, exponent), class_names)
                scores[rule] = by_exponent[exponent]
            records += [
                (*result.cell, rule, metric, of_rule[metric])
                for rule, of_rule in scores.items()
                for metric in order
                if metric in of_rule
            ]
    return pd.DataFrame.from_records(records, columns=list(POINT_COLUMNS))


def _score(result: CellResult, class_names: Sequence[str]) -> dict[str, float]:
    return score(result.labels, result.predicted, result.probabilities, class_names)


def prior_corrected_predictions(record: RunRecord) -> pd.DataFrame:
    """Return the predictions of ``none`` under ``balanced_prior``, in the layout of ``predictions.csv.gz``.

    The ``sampler`` is `PRIOR_CORRECTION`. Nothing is learned from the held-out rows of a cell.
    """
    corrected = [
        replace(move_prior(result, 1.0), cell=result.cell._replace(sampler=PRIOR_CORRECTION))
        for result in record.results
        if result.cell.sampler == "none"
    ]
    if not corrected:
        return record.predictions.iloc[:0]
    return predictions_table(corrected, record.info.table.class_names)


def prior_corrected_scores(record: RunRecord) -> pd.DataFrame:
    """Score `prior_corrected_predictions`, in the layout of ``scores.csv``."""
    return score_predictions(prior_corrected_predictions(record), record.info.table.class_names)
