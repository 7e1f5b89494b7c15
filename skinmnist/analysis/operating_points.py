"""Operating points: predictions of a pair at other class priors, on equal terms, and as conformal sets.

A sampler changes the class mix that a model is trained on, and thereby every probability and decision, even
if the model has learned nothing new. Bayes' rule converts probabilities from one mix to another without
training (Saerens, Latinne & Decaestecker, Neural Computation 14, 2002). A rule defines the target mix: it
returns probabilities and predicts the class with the largest.

=========================  ===========================================================================
``as_trained``             the stored probabilities
``natural_prior``          converted to the class mix of the fold's training lesions, before any sampler
``balanced_prior``         converted to equal class frequencies
``tuned_macro_f1``         converted to the natural prior divided by a power of itself, tuned for macro-F1
``tuned_balanced_accuracy``  the same, tuned for balanced accuracy
=========================  ===========================================================================

The power is selected from `EXPONENTS` by the score on the pooled held-out rows of the other folds of the same
repeat and pair; in case of a tie, the smallest wins. Selecting it by the mean score over these folds would be
equally noisy and would require every class in every fold: ``experiments/benchmarks/exponent_choice.py``
measures both methods and shows that the selection does not inflate the score. If the split has a validation
set, the power is selected on that set. Otherwise, a pair with a single finished fold in a repeat has no tuned
rules.

Conformal sets are sets of classes that hold the right class in a given share of each class. A class is in the
set of a picture if its probability reaches the threshold of the class. The thresholds for a fold come from
the held-out pictures of the other folds of the same repeat and pair: each is reached by all but a share
`alpha` of the pictures of its class. Calibration within classes (Mondrian: Vovk, ACML 2012; Ding et al.,
NeurIPS 2023) gives the coverage to every class, whatever the class mix of new pictures.

Where folds keep lesions together, a fold is calibrated on other lesions. Two facts make the guarantee
approximate: each fold has its own model, so the probabilities of different folds are only nearly exchangeable
(cross-conformal: Vovk, Annals of Mathematics and Artificial Intelligence 74, 2015), and pictures of one
lesion are not independent. If the split has a validation set, it takes the place of the other folds.

All sets are formed at the natural prior. A sampler that only changes the prior of a model therefore does not
change its sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.analysis.significance import Pair
from skinmnist.decisions.probabilities import change_prior, conformal_sets, conformal_thresholds
from skinmnist.experiment.cells import Answers, Cell, CellResult
from skinmnist.experiment.costs import natural_probabilities, with_costs
from skinmnist.experiment.derived.tuning import (
    Counts,
    choose_exponents,
    counts_by_exponent,
    move_prior,
    validation_counts,
)
from skinmnist.experiment.lesion_scores import score_lesions, with_lesion_scores
from skinmnist.experiment.metrics import metric_names, score, score_predictions
from skinmnist.experiment.run_folder.record import RunRecord, predictions_table
from skinmnist.resampling.strategies import family

#: The rules, in the order of ``operating_points.csv``.
RULES = ("as_trained", "natural_prior", "balanced_prior", "tuned_macro_f1", "tuned_balanced_accuracy")
#: The ``sampler`` name of ``balanced_prior`` applied to ``none``. This control needs no training ("threshold
#: moving": Collell, Prelec & Patil, Neurocomputing 275, 2018; post-hoc logit adjustment: Menon et al., ICLR
#: 2021).
PRIOR_CORRECTION = "prior_correction"

#: The rules and metrics of `scores_by_share`, and the columns of its table.
SHARE_MEASURES = (("natural_prior", "macro_auc"), ("as_trained", "macro_f1"), ("tuned_macro_f1", "macro_f1"))
SHARE_COLUMNS = ("sampler", "model", "share", "rule", "metric", "mean", "change", "change_sd", "cells")
#: Number of shares of one sampler, including ``none`` as a share of 0, from which they are compared.
LEAST_SHARES = 3
POINT_COLUMNS = (*Cell._fields, "rule", "metric", "value")
CONFORMAL_COLUMNS = (
    "sampler",
    "model",
    "alpha",
    "class",
    "pictures",
    "coverage",
    "mean_size",
    "calibration_pictures",
    "in_every_set",
)
#: The value of ``class`` in the rows for all pictures.
ALL_CLASSES = "(all)"


def operating_points(
    results: Sequence[CellResult],
    class_names: Sequence[str],
    counted: Mapping[Cell, Counts] | None = None,
    lesions: npt.NDArray[np.integer] | None = None,
) -> pd.DataFrame:
    """Score every cell under every rule, with all metrics of `score`, in the order of the cells.

    The table has `POINT_COLUMNS`; its ``as_trained`` rows equal those of ``scores.csv``. Cells of one pair
    and repeat must be adjacent. `counted` is the output of `counts_by_exponent` for each cell, if known. With
    `lesions`, the output of `scored_lesions`, the scores by lesion of the decisions follow, and at the
    natural prior all scores by lesion; the power is the one selected by picture.
    """
    counted = counted or {result.cell: counts_by_exponent(result) for result in results}
    order, records = metric_names(class_names), []
    for _, group in groupby(results, key=lambda result: result.cell[:3]):
        cells = list(group)
        counts = [counted[result.cell] for result in cells]
        exponents = choose_exponents(counts, validation_counts(cells))
        for result, chosen in zip(cells, exponents, strict=True):
            scores, by_lesion = {}, {}
            scored: dict[float | None, tuple[dict[str, float], dict[str, float]]] = {}
            exponents_of = {"as_trained": None, "natural_prior": 0.0, "balanced_prior": 1.0, **chosen}
            for rule, exponent in exponents_of.items():
                if exponent not in scored:
                    moved = result if exponent is None else move_prior(result, exponent)
                    scored[exponent] = (
                        _score(moved, class_names),
                        _score_lesions(moved, class_names, lesions, rule),
                    )
                scores[rule], by_lesion[rule] = scored[exponent]
            for rule, of_rule in scores.items():
                records += [(*result.cell, rule, name, of_rule[name]) for name in order if name in of_rule]
                # A tuned rule may have the exponent of the natural prior, but has only scores of decisions.
                wanted = by_lesion[rule if rule == "natural_prior" else "as_trained"]
                records += [(*result.cell, rule, name, by_lesion[rule][name]) for name in wanted]
    return pd.DataFrame.from_records(records, columns=list(POINT_COLUMNS))


def _score(result: CellResult, class_names: Sequence[str]) -> dict[str, float]:
    return score(result.labels, result.predicted, result.probabilities, class_names)


def _score_lesions(
    result: CellResult, class_names: Sequence[str], lesions: npt.NDArray[np.integer] | None, rule: str
) -> dict[str, float]:
    if lesions is None:
        return {}
    codes, decisions_only = lesions[result.rows], rule != "natural_prior"
    return score_lesions(codes, result.labels, result.probabilities, class_names, decisions_only)


def prior_corrected_predictions(record: RunRecord) -> pd.DataFrame:
    """Return the predictions of ``none`` under ``balanced_prior``, in the layout of ``predictions.csv.gz``.

    The ``sampler`` is `PRIOR_CORRECTION`. The correction learns nothing from the held-out rows of a cell.
    """
    corrected = [
        replace(move_prior(result, 1.0), cell=result.cell._replace(sampler=PRIOR_CORRECTION))
        for result in record.results
        if result.cell.sampler == "none"
    ]
    if not corrected:
        return record.predictions.iloc[:0]
    return predictions_table(corrected, record.info.table.class_names)


def prior_corrected_scores(record: RunRecord, corrected: pd.DataFrame | None = None) -> pd.DataFrame:
    """Score `prior_corrected_predictions`, in the layout of ``scores.csv``."""
    names, costs = record.info.table.class_names, record.info.costs
    corrected = prior_corrected_predictions(record) if corrected is None else corrected
    plain = [result for result in record.results if result.cell.sampler == "none"] if costs else []
    scores = with_lesion_scores(score_predictions(corrected, names), corrected, names, record.scored_lesions)
    return with_costs(scores, corrected, natural_probabilities(plain, len(names)), costs)


def scores_by_share(points: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of each sampler that a run has with several shares, such as ``SMOTE@0.5``.

    `points` is in the layout of ``operating_points.csv``. There is one row for each share of a sampler with a
    model, and for each of `SHARE_MEASURES`. ``none`` is a share of 0. ``mean`` is the mean over the cells
    that have finished for every share, ``change`` its difference from the smallest share, and ``change_sd``
    the standard deviation of this difference over the cells.
    """
    records = []
    for model, of_model in points.groupby("model", sort=False):
        names = list(dict.fromkeys(of_model["sampler"]))
        for sampler, shares in _families(names).items():
            for rule, metric in SHARE_MEASURES:
                own = of_model[(of_model["rule"] == rule) & (of_model["metric"] == metric)]
                wide = own.pivot_table("value", ["repeat", "fold"], "sampler", sort=False)
                wide = wide.reindex(columns=list(shares.values())).dropna()
                changes = wide.sub(wide.iloc[:, 0], axis=0)
                for share, name in shares.items() if len(wide) else ():
                    values = wide[name].mean(), changes[name].mean(), changes[name].std(), len(wide)
                    records.append((sampler, model, share, rule, metric, *values))
    return pd.DataFrame.from_records(records, columns=list(SHARE_COLUMNS))


def _families(names: Sequence[str]) -> dict[str, dict[float, str]]:
    """Return the names of the shares of each sampler that has at least `LEAST_SHARES`, in ascending order."""
    found: dict[str, dict[float, str]] = {}
    for name in names:
        if known := family(name):
            sampler, share = known
            found.setdefault(sampler, {0.0: "none"} if "none" in names else {})[share] = name
    return {
        sampler: dict(sorted(shares.items()))
        for sampler, shares in found.items()
        if len(shares) >= LEAST_SHARES
    }


def conformal_coverage(
    results: Sequence[CellResult], class_names: Sequence[str], alpha: float
) -> pd.DataFrame:
    """Return coverage and mean size of the conformal sets of each pair, for all pictures and by true class.

    The columns are `CONFORMAL_COLUMNS`. ``coverage`` is the share of the ``pictures`` whose set holds the
    right class, and ``mean_size`` the mean number of classes in their sets; folds and repeats are pooled.
    ``calibration_pictures`` is the smallest number of pictures of the class that a fold was calibrated on.
    With fewer than ``1 / alpha - 1``, the class has no threshold and is ``in_every_set`` of that fold. Pairs
    without calibration pictures are absent.
    """
    pairs: dict[Pair, dict[int, list[CellResult]]] = {}
    for result in results:
        sampler, model, repeat, _ = result.cell
        pairs.setdefault((sampler, model), {}).setdefault(repeat, []).append(result)
    records: list[tuple[object, ...]] = []
    for pair, repeats in pairs.items():
        found = [one for cells in repeats.values() for one in _sets_of_repeat(cells, alpha)]
        if not found:
            continue
        labels, sets = (np.concatenate(parts) for parts in zip(*(one[:2] for one in found), strict=True))
        fewest = np.min([one[2] for one in found], axis=0)
        covered, sizes = sets[np.arange(len(sets)), labels], sets.sum(axis=1)
        of_class = [(name, labels == code, fewest[code]) for code, name in enumerate(class_names)]
        for name, rows, calibration in [(ALL_CLASSES, np.ones(len(labels), bool), fewest.sum()), *of_class]:
            means = (covered[rows].mean(), sizes[rows].mean()) if rows.any() else (np.nan, np.nan)
            without = name != ALL_CLASSES and bool(np.floor(alpha * (calibration + 1)) < 1)
            records.append((*pair, alpha, name, int(rows.sum()), *means, int(calibration), without))
    return pd.DataFrame.from_records(records, columns=list(CONFORMAL_COLUMNS))


def _sets_of_repeat(
    cells: Sequence[CellResult], alpha: float
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.int64]]]:
    """Yield labels, sets, and the numbers of calibration pictures by class, for each cell that has them."""
    held_out = [_at_natural_prior(cell, Answers(cell.labels, cell.probabilities)) for cell in cells]
    validation = [
        None if cell.validation is None else _at_natural_prior(cell, cell.validation) for cell in cells
    ]
    for place, own in enumerate(held_out):
        others = [answers for at, answers in enumerate(held_out) if at != place]
        if all(answers is not None for answers in validation):
            others = [answers for answers in (validation[place],) if answers is not None]
        if not others:
            continue
        labels, probabilities = (np.concatenate(parts) for parts in zip(*others, strict=True))
        thresholds = conformal_thresholds(labels, probabilities, alpha)
        counts = np.bincount(labels, minlength=probabilities.shape[1])
        yield own.labels, conformal_sets(own.probabilities, thresholds), counts


def _at_natural_prior(cell: CellResult, answers: Answers) -> Answers:
    return answers._replace(
        probabilities=change_prior(answers.probabilities, cell.training_mix, cell.natural_mix)
    )
