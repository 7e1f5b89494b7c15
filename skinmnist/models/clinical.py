"""The evidence for each class from age, sex and localization, as log-odds without the class frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

#: Columns by name, with values of shape (n,): numbers (NaN if unknown) or words ("" if unknown).
Columns = Mapping[str, npt.NDArray[Any]]


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
