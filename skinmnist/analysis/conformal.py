"""Conformal sets of a run: sets of classes that hold the right class in a given share of each class.

A class is in the set of a picture if its probability reaches the threshold of the class. The thresholds for
a fold come from the held-out pictures of the other folds of the same repeat and pair: each is reached by all
but a share `alpha` of the pictures of its class. Calibration within classes (Mondrian: Vovk, ACML 2012; Ding
et al., NeurIPS 2023) gives the coverage to every class, whatever the class mix of new pictures.

Where folds keep lesions together, a fold is calibrated on other lesions. Two facts make the guarantee
approximate: each fold has its own model, so the probabilities of different folds are only nearly exchangeable
(cross-conformal: Vovk, Annals of Mathematics and Artificial Intelligence 74, 2015), and pictures of one
lesion are not independent. If the split has a validation set, it takes the place of the other folds.

All sets are formed at the natural prior. A sampler that only changes the prior of a model therefore does not
change its sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.analysis.significance import Pair
from skinmnist.decisions.probabilities import change_prior, conformal_sets, conformal_thresholds
from skinmnist.experiment.cells import Answers, CellResult

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
