"""Exponents of the class frequencies that are tuned on other folds, and the control row made with them.

Probabilities are converted to the natural prior divided by a power of itself. The power is selected from
`EXPONENTS` by the score on the pooled held-out rows of the other folds of the same repeat and pair, or on the
validation set of a split.

``tuned_plain`` answers whether a strategy is worth its training: it is ``none``, the same network with the
same budget and no strategy, whose threshold is moved by the exponent tuned for macro-F1. Nothing is trained,
and the exponent of a fold is chosen without the answers for its held-out rows. As in every choice across
folds, the models that gave the other answers were trained on these rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from skinmnist.decisions.probabilities import EXPONENTS, change_prior, flatten_prior
from skinmnist.experiment.cells import Cell, CellResult
from skinmnist.experiment.derived.ensembles import Derivation
from skinmnist.experiment.metrics import balanced_accuracy, confusion_matrix, macro_f1
from skinmnist.resampling.registry import AS_THEY_ARE, Resampler
from skinmnist.resampling.strategies import TUNED_PLAIN

#: Held-out rows by exponent, true and predicted class, shape (exponents, k, k).
Counts = npt.NDArray[np.int64]
#: The metric that each tuned rule maximises.
TUNED_FOR = {"tuned_macro_f1": macro_f1, "tuned_balanced_accuracy": balanced_accuracy}


def move_prior(result: CellResult, exponent: float) -> CellResult:
    """Return a cell with its probabilities converted to the natural prior divided by a power of itself."""
    wanted = flatten_prior(result.natural_mix, exponent)
    return replace(result, probabilities=change_prior(result.probabilities, result.training_mix, wanted))


def choose_exponents(counts: Sequence[Counts], aside: Sequence[Counts] = ()) -> list[dict[str, float]]:
    """Choose the exponents of the tuned rules for each cell of one pair and repeat.

    Parameters
    ----------
    counts : sequence of ndarray of shape (exponents, k, k)
        Output of `counts_by_exponent` for each cell.
    aside : sequence of ndarray of shape (exponents, k, k)
        Output of `validation_counts`. If every cell has a validation set, it replaces the counts of the other
        cells.

    Returns
    -------
    list of dict of str to float
        The exponent of each rule; empty if there are no data for the choice.
    """
    if aside and len(aside) == len(counts):
        tuned_on = np.asarray(aside)
    elif len(counts) > 1:
        tuned_on = np.sum(counts, axis=0) - np.stack(counts)
    else:
        return [{} for _ in counts]
    # Round because equal scores of different counts may differ in the last bit.
    best = {rule: metric(tuned_on).round(12).argmax(axis=1) for rule, metric in TUNED_FOR.items()}
    return [{rule: float(EXPONENTS[best[rule][place]]) for rule in TUNED_FOR} for place in range(len(counts))]


def validation_counts(cells: Sequence[CellResult]) -> list[Counts]:
    """Return `counts_by_exponent` of the validation set of each cell that has a validation set."""
    aside = [(cell, cell.validation) for cell in cells if cell.validation is not None]
    return [
        counts_by_exponent(replace(cell, labels=part.labels, probabilities=part.probabilities))
        for cell, part in aside
    ]


def counts_by_exponent(result: CellResult) -> Counts:
    """Count held-out rows by true and predicted class at each of `EXPONENTS`, shape (exponents, k, k)."""
    k = len(result.natural_mix)
    moved = (move_prior(result, exponent).predicted for exponent in EXPONENTS)
    return np.stack([confusion_matrix(result.labels, predicted, k) for predicted in moved])


@dataclass(frozen=True)
class TunedPlain(Derivation):
    """The rule of ``tuned_plain``: a cell of `base` at the exponent tuned for macro-F1 on the other folds.

    Attributes
    ----------
    base : str
        The sampler of the finished cells: ``none``, or its name in the run.
    folds : int
        Number of held-out folds of each repeat.
    validated : bool
        Whether the split has a validation set, which then replaces the other folds.
    """

    base: str
    folds: int
    validated: bool = False
    role: ClassVar[str] = "base"

    def needs(self, cell: Cell) -> tuple[Cell, ...]:
        """Return the base of a cell, followed by those on the other folds if these choose the exponent."""
        others = [] if self.validated else [fold for fold in range(self.folds) if fold != cell.fold]
        return tuple(Cell(self.base, cell.model, cell.repeat, fold) for fold in (cell.fold, *others))

    def derive(self, cell: Cell, bases: Sequence[CellResult]) -> CellResult:
        """Move the prior of the base; the cost is that of the base."""
        base, validation = bases[0], bases[0].validation
        counts = [counts_by_exponent(one) for one in bases]
        exponent = choose_exponents(counts, validation_counts(bases))[0]["tuned_macro_f1"]
        wanted = flatten_prior(base.natural_mix, exponent)
        if validation is not None:
            moved = change_prior(validation.probabilities, base.training_mix, wanted)
            validation = validation._replace(probabilities=moved)
        where = "the other folds" if base.validation is None else "the validation set"
        return replace(
            move_prior(base, exponent),
            cell=cell,
            training_mix=wanted / wanted.sum(),
            notes=(f"class frequencies divided by their power {exponent:.2f}, chosen on {where}",),
            history={},
            examples=None,
            validation=validation,
        )


def with_base(samplers: dict[str, Resampler]) -> tuple[dict[str, Resampler], list[str]]:
    """Add ``none`` to samplers with ``tuned_plain``, whose rows are made from its cells; return notes."""
    names = {sampler.name for sampler in samplers.values()}
    if TUNED_PLAIN not in names or AS_THEY_ARE.name in names:
        return samplers, []
    return {AS_THEY_ARE.name: AS_THEY_ARE, **samplers}, [
        f"none is added: {TUNED_PLAIN} is made from its cells"
    ]


def plan_tuned(
    samplers: Mapping[str, Resampler], cells: Sequence[Cell], folds: int, validated: bool
) -> tuple[dict[Cell, TunedPlain], list[str]]:
    """Return the cells of ``tuned_plain`` with their rule, and notes on omissions.

    `cells` are trained or derived; `folds` and `validated` are as in `TunedPlain`.
    """
    names = {sampler.name: name for name, sampler in samplers.items()}
    name = names.get(TUNED_PLAIN)
    if name is None:
        return {}, []
    if folds < 2 and not validated:
        why = "this split has neither other folds nor a validation set to tune it on"
        return {}, [f"{name} is not planned: {why}"]
    rule = TunedPlain(names[AS_THEY_ARE.name], folds, validated)
    return {cell._replace(sampler=name): rule for cell in cells if cell.sampler == rule.base}, []
