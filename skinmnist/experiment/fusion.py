"""Clinical columns, added late: to the finished predictions of a model that has seen pictures only.

The weight was chosen on the real 28 x 28 table with age, sex and localization: macro-F1, macro-AUC and log
loss on five folds by lesion of seed 1.

======================  =================  =================  =================  =================
sampler, model          pictures alone     weight 0.5         weight 0.7         weight 1.0
======================  =================  =================  =================  =================
none, cnn               .537  .936   .633  .567  .947   .575  .586  .945   .574  .595  .941   .590
none, svm_pixels        .422  .899   .728  .482  .922   .652  .499  .925   .643  .512  .926   .647
RandomOverSampler, cnn  .551  .928   .820  .583  .942   .734  .588  .943   .724  .591  .941   .729
    "          svm_pixels  .378  .875  1.117  .441  .904   .988  .451  .908   .968  .455  .910   .964
======================  =================  =================  =================  =================

Boosted trees on the columns, other numbers of knots, and age crossed with localization changed macro-F1 by
at most .01, to either side; a stronger penalty was worse. The table is printed by
``experiments/benchmarks/clinical_weight.py``.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import CellFailure, CellResult
from skinmnist.experiment.splits import VALIDATION, training_rows
from skinmnist.text import one_line, shown

#: Share of the columns' log-odds that is added: they repeat some of what the picture shows.
WEIGHT = 0.7

#: Columns that every metadata has and no honest model may use, and why.
_LEAKS = {
    "dx": "is the diagnosis itself",
    "dx_type": "says how the diagnosis was made",
    "lesion_id": "names the lesion",
    "image_id": "names the picture",
}


def choose_columns(table: PixelTable, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the clinical columns asked for, in the table's order, whatever the order of the request."""
    asked = [names] if isinstance(names, str) else list(names)
    known = table.clinical or {}
    for name in asked:
        if name in _LEAKS:
            raise InputError(
                f"received the clinical column {name!r}, which {_LEAKS[name]} and so is a leak; expected "
                "what is known before the diagnosis, such as age, sex or localization, so leave it out"
            )
        if not known:
            raise InputError(
                f"received the clinical column {name!r}, but table {table.name!r} came with no clinical "
                "columns; expected metadata with age, sex or localization, so name it with --metadata"
            )
        if name not in known:
            raise InputError(
                f"received the clinical column {name!r}; expected some of {', '.join(known)}, which the "
                f"metadata of table {table.name!r} has, so name one of them"
            )
        if asked.count(name) > 1:
            raise InputError(f"received the clinical column {name!r} twice; name each one once")
    return {name: values for name, values in known.items() if name in asked}


def informative_columns(
    columns: Mapping[str, npt.NDArray[Any]], rows: npt.NDArray[np.bool_]
) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """Return the columns that say anything of the rows of a run, and a note on each that does not."""
    useful, notes = {}, []
    for name, values in columns.items():
        known = values[rows]
        known = known[known != ""] if values.dtype.kind == "U" else known[np.isfinite(known)]
        found = len(np.unique(known))
        if found > 1:
            useful[name] = values
            continue
        why = "every value is unknown" if not found else f"every known value is {shown(known[0].item())}"
        notes.append(f"the clinical column {name} is left out: {why}")
    if columns and not useful:
        notes.append("no cells with clinical columns are planned: none of the columns says anything")
    return useful, notes


def add_odds(
    probabilities: npt.NDArray[np.float64], log_odds: npt.NDArray[np.float64], weight: float = WEIGHT
) -> npt.NDArray[np.float64]:
    """Add log-odds over the class frequencies, (m, k), to the logarithms of probabilities, (m, k).

    If picture and columns were independent given the class, all of the log-odds would be Bayes' rule. No
    class frequency enters them, so that they suit a model that was trained on resampled rows as well. A
    row of zeros leaves its probabilities as they are, to the bit; a class of probability 0 keeps it.
    """
    with np.errstate(divide="ignore"):
        scores = np.log(probabilities) + weight * log_odds
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    known = log_odds.any(axis=1, keepdims=True)
    return np.where(known, shares / shares.sum(axis=1, keepdims=True), probabilities)


class _Fitted(NamedTuple):
    """What is known of one fold: log-odds of its held-out and validation rows, and what they cost."""

    log_odds: npt.NDArray[np.float64]
    of_validation: npt.NDArray[np.float64] | None
    fit_seconds: float
    predict_seconds: float
    notes: tuple[str, ...]


class Fusion:
    """Makes the cell ``<model>+clinical`` of a finished cell; nothing is trained but a small regression.

    `columns` are as `choose_columns` returns them, `folds` as `assign_folds` does.
    """

    def __init__(
        self,
        columns: Mapping[str, npt.NDArray[Any]],
        labels: npt.NDArray[np.int64],
        folds: npt.NDArray[np.int8],
        n_classes: int,
    ) -> None:
        self.columns, self.n_classes = columns, n_classes
        self._labels, self._folds = labels, folds
        self._fitted: dict[tuple[int, int], _Fitted] = {}

    @property
    def fingerprint(self) -> str:
        """Digest of the columns: a column more or less makes fused cells stale, and no others."""
        state = hashlib.sha256()
        for name, values in self.columns.items():
            content = "\n".join(values.tolist()).encode() if values.dtype.kind == "U" else values.tobytes()
            state.update(f"{name} {len(content)} ".encode() + content)
        return state.hexdigest()

    def finish(self, base: CellResult | CellFailure) -> CellResult | CellFailure:
        """Return what becomes of the fused cell; where its base has failed, it fails as well."""
        if isinstance(base, CellFailure):
            return CellFailure(base.cell.fused, f"its base {base.cell.model} failed: {base.reason}")
        try:
            return self.fuse(base)
        except Exception as error:  # Whatever the regression raises, the other cells go on.
            return CellFailure.from_error(base.cell.fused, error)

    def fuse(self, base: CellResult) -> CellResult:
        """Add to the answers of a finished cell what the clinical columns say of its held-out rows.

        The fused cell costs what its base has cost, and its own part.
        """
        fitted = self._fit(base.cell.repeat, base.cell.fold)
        validation = base.validation
        if validation is not None and fitted.of_validation is not None:
            fused = add_odds(validation.probabilities, fitted.of_validation)
            validation = validation._replace(probabilities=fused)
        # No class frequency enters the log-odds: the answers stay those to the training mix of the base.
        return replace(
            base,
            cell=base.cell.fused,
            probabilities=add_odds(base.probabilities, fitted.log_odds),
            timing=base.timing._replace(
                fit_seconds=base.timing.fit_seconds + fitted.fit_seconds,
                predict_seconds=base.timing.predict_seconds + fitted.predict_seconds,
            ),
            notes=fitted.notes,
            history={},
            examples=None,
            validation=validation,
        )

    def _fit(self, repeat: int, fold: int) -> _Fitted:
        """Learn from the training rows of a fold, as they are, once for all models and samplers."""
        if (repeat, fold) in self._fitted:
            return self._fitted[repeat, fold]
        from skinmnist.models.clinical import ClinicalOdds

        fold_of = self._folds[repeat]
        train, held_out = training_rows(fold_of, fold), fold_of == fold
        # One thread, as in the workers: the order of a sum must not depend on the machine's load.
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
            warnings.simplefilter("always")
            started = time.perf_counter()
            odds = ClinicalOdds(self.n_classes).fit(self._of(train), self._labels[train])
            fitted = time.perf_counter()
            log_odds = odds.log_odds(self._of(held_out))
            predicted = time.perf_counter()
            set_aside = fold_of == VALIDATION
            of_validation = odds.log_odds(self._of(set_aside)) if set_aside.any() else None
        notes = {one_line(f"{warning.category.__name__}: {warning.message}") for warning in caught}
        found = _Fitted(log_odds, of_validation, fitted - started, predicted - fitted, tuple(sorted(notes)))
        self._fitted[repeat, fold] = found
        return found

    def _of(self, rows: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[Any]]:
        return {name: values[rows] for name, values in self.columns.items()}
