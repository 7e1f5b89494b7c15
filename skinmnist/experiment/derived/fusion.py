"""Late fusion: add the evidence of clinical columns to the finished predictions of a picture model.

The evidence for each class from age, sex and localization is taken as log-odds without the class frequencies.

The weight was chosen on the real 28 x 28 table with age, sex and localization. The columns are macro-F1,
macro-AUC and log loss over five folds by lesion with seed 1.

======================  =================  =================  =================  =================
sampler, model          pictures alone     weight 0.5         weight 0.7         weight 1.0
======================  =================  =================  =================  =================
none, cnn               .537  .936   .633  .567  .947   .575  .586  .945   .574  .595  .941   .590
none, svm_pixels        .422  .899   .728  .482  .922   .652  .499  .925   .643  .512  .926   .647
RandomOverSampler, cnn  .551  .928   .820  .583  .942   .734  .588  .943   .724  .591  .941   .729
    "          svm_pixels  .378  .875  1.117  .441  .904   .988  .451  .908   .968  .455  .910   .964
======================  =================  =================  =================  =================

Boosted trees on the columns, other numbers of knots, and an interaction of age and localization changed
macro-F1 by at most .01 in either direction; a stronger penalty was worse.
``experiments/benchmarks/clinical_weight.py`` prints the table.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, SplineTransformer
from threadpoolctl import threadpool_limits

from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellResult
from skinmnist.experiment.derived.ensembles import Derivation
from skinmnist.experiment.splits import VALIDATION, training_rows
from skinmnist.names import did_you_mean, known_spelling
from skinmnist.text import one_line, shown

#: Columns by name, with values of shape (n,): numbers (NaN if unknown) or words ("" if unknown).
Columns = Mapping[str, npt.NDArray[Any]]
#: Share of the log-odds that is added, below 1 because the columns partly repeat the evidence of the picture.
WEIGHT = 0.7

#: Metadata columns that an honest model must not use, with the reasons.
_LEAKS = {
    "dx": "is the diagnosis itself",
    "dx_type": "says how the diagnosis was made",
    "lesion_id": "names the lesion",
    "image_id": "names the picture",
}


def choose_columns(table: PixelTable, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the requested clinical columns in table order."""
    known = table.clinical or {}
    columns = (*known, *_LEAKS)
    asked = [known_spelling(str(name), columns) for name in ([names] if isinstance(names, str) else names)]
    for name in asked:
        if name in _LEAKS:
            raise InputError(
                f"received the clinical column {name!r}, which {_LEAKS[name]} and is thus a leak; expected "
                "columns known before the diagnosis, such as age, sex or localization, so drop it"
            )
        if not known:
            raise InputError(
                f"received the clinical column {name!r}, but table {table.name!r} has no clinical "
                "columns; expected metadata with age, sex or localization, so name it with --metadata"
            )
        if name not in known:
            raise InputError(
                f"received the clinical column {name!r}; expected columns in the metadata of table "
                f"{table.name!r}: {', '.join(known)}{did_you_mean(name, known)}"
            )
        if asked.count(name) > 1:
            raise InputError(f"received the clinical column {name!r} twice; name each one once")
    return {name: values for name, values in known.items() if name in asked}


def informative_columns(
    columns: Mapping[str, npt.NDArray[Any]], rows: npt.NDArray[np.bool_]
) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """Return the columns that are informative for the rows of a run, with a note on each of the others."""
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
        notes.append("no cells with clinical columns are planned: none of the columns is informative")
    return useful, notes


def add_odds(
    probabilities: npt.NDArray[np.float64], log_odds: npt.NDArray[np.float64], weight: float = WEIGHT
) -> npt.NDArray[np.float64]:
    """Add log-odds relative to class frequencies, (m, k), to the logarithms of probabilities, (m, k).

    If the picture and the columns were independent given the class, adding the full log-odds would implement
    Bayes' rule. The log-odds do not include class frequencies, so they also suit a model trained on resampled
    rows. A row of zeros leaves its probabilities exactly unchanged; a probability of 0 remains 0.
    """
    with np.errstate(divide="ignore"):
        scores = np.log(probabilities) + weight * log_odds
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    known = log_odds.any(axis=1, keepdims=True)
    return np.where(known, shares / shares.sum(axis=1, keepdims=True), probabilities)


class _Fitted(NamedTuple):
    """The log-odds of the held-out and validation rows of one fold, and their cost."""

    log_odds: npt.NDArray[np.float64]
    of_validation: npt.NDArray[np.float64] | None
    fit_seconds: float
    predict_seconds: float
    notes: tuple[str, ...]


class Fusion(Derivation):
    """Create the cell ``<model>+clinical`` from a finished cell; only a small regression is trained.

    `columns` is the output of `choose_columns`, and `folds` that of `assign_folds`.
    """

    role: ClassVar[str] = "base"

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
        """Digest of the columns; adding or removing a column invalidates only fused cells."""
        state = hashlib.sha256()
        for name, values in self.columns.items():
            content = "\n".join(values.tolist()).encode() if values.dtype.kind == "U" else values.tobytes()
            state.update(f"{name} {len(content)} ".encode() + content)
        return state.hexdigest()

    def needs(self, cell: Cell) -> tuple[Cell, ...]:
        """Return the base of a fused cell."""
        assert cell.base is not None
        return (cell.base,)

    def derive(self, cell: Cell, bases: Sequence[CellResult]) -> CellResult:
        """Add the log-odds of the clinical columns to the predictions of a finished cell.

        The cost of the fused cell is the cost of its base plus that of the fusion.
        """
        (base,) = bases
        fitted = self._fit(base.cell.repeat, base.cell.fold)
        validation = base.validation
        if validation is not None and fitted.of_validation is not None:
            fused = add_odds(validation.probabilities, fitted.of_validation)
            validation = validation._replace(probabilities=fused)
        # The log-odds do not include class frequencies, so the predictions still refer to the training mix of
        # the base.
        return replace(
            base,
            cell=cell,
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
        """Fit on the original training rows of a fold, once for all models and samplers."""
        if (repeat, fold) in self._fitted:
            return self._fitted[repeat, fold]
        fold_of = self._folds[repeat]
        train, held_out = training_rows(fold_of, fold), fold_of == fold
        # Use one thread, as in the workers, because the order of a sum must not depend on the machine's load.
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


class ClinicalOdds:
    """Multinomial logistic regression on clinical columns, as log-odds relative to the class frequencies.

    Numbers are expanded in cubic splines (Eilers & Marx, Statistical Science, 1996), and each word has an
    indicator. Unknown values, and words absent from the training rows, are replaced with the training mean
    and thus carry no evidence; missingness itself is not evidence either. `C` is the inverse L2 penalty.
    """

    knots = 5  # Per spline.

    def __init__(self, n_classes: int, C: float = 1.0) -> None:
        self.n_classes, self.C = n_classes, C

    def fit(self, columns: Columns, labels: npt.NDArray[np.integer]) -> ClinicalOdds:
        """Fit to columns of shape (n,) and codes 0..k-1, ignoring rows without any known value."""
        self._encoders = {name: _Encoder(values, self.knots) for name, values in columns.items()}
        rows, known = self._encode(columns)
        labels = np.asarray(labels)[known]
        counts = np.bincount(labels, minlength=self.n_classes)
        self._classes = np.flatnonzero(counts)
        self._log_prior = np.log(counts[self._classes] / max(counts.sum(), 1))
        self._regression = None
        if len(self._classes) > 1:
            self._regression = LogisticRegression(C=self.C, max_iter=2000).fit(rows[known], labels)
        return self

    def log_odds(self, columns: Columns) -> npt.NDArray[np.float64]:
        """Return log p(class | columns) - log p(class) of each row, shape (m, k), float64.

        Rows without a known value are all zeros, as are the columns of classes without training rows.
        """
        rows, known = self._encode(columns)
        odds = np.zeros((len(rows), self.n_classes))
        if self._regression is not None and known.any():
            given = self._regression.predict_log_proba(rows[known]) - self._log_prior
            odds[np.ix_(known, self._classes)] = given
        return odds

    def _encode(self, columns: Columns) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the encoded columns, and a mask of the rows with at least one known value."""
        parts = [encoder(columns[name]) for name, encoder in self._encoders.items()]
        known = np.any([encoder.known(columns[name]) for name, encoder in self._encoders.items()], axis=0)
        return np.hstack(parts), known


class _Encoder:
    """Encoder of one column as numbers with mean 0 over the training rows, and 0 for unknown values."""

    def __init__(self, values: npt.NDArray[Any], knots: int) -> None:
        words = values.dtype.kind == "U"
        found = np.setdiff1d(values, [""]) if words else np.unique(values[np.isfinite(values)])
        # A constant column carries no evidence, whatever its values in new rows.
        self._useful = len(found) > 1
        self._words = found if words else None
        self._width, self._mean = 0, np.zeros(0)
        self._transformer: Any = OneHotEncoder(sparse_output=False) if words else SplineTransformer(knots)
        if self._useful:
            encoded = self._transformer.fit_transform(values[self.known(values)][:, None])
            self._width, self._mean = encoded.shape[1], encoded.mean(axis=0)

    def known(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return a mask of the rows with a usable value in the column."""
        if not self._useful:
            return np.zeros(len(values), dtype=bool)
        return np.isfinite(values) if self._words is None else np.isin(values, self._words)

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        encoded, known = np.zeros((len(values), self._width)), self.known(values)
        if known.any():
            encoded[known] = self._transformer.transform(values[known][:, None]) - self._mean
        return encoded
