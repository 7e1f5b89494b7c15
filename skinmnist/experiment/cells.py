"""The cell, the unit of work, and its result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skinmnist.names import pair_name
from skinmnist.resampling.registry import SAMPLERS, STRATEGIES
from skinmnist.text import one_line

#: Suffix of the name of a model with clinical columns added to its predictions.
FUSED = "+clinical"


class Cell(NamedTuple):
    """One sampler with one model on one fold: it runs in parallel, is stored and resumed, and fails alone."""

    sampler: str
    model: str
    repeat: int
    fold: int

    def __str__(self) -> str:
        return f"{pair_name(self[:2])}, repeat {self.repeat}, fold {self.fold}"

    @property
    def fused(self) -> Cell:
        """The cell that adds clinical columns to the predictions of this one."""
        return self._replace(model=self.model + FUSED)

    @property
    def base(self) -> Cell | None:
        """The cell whose predictions this one adds clinical columns to; None for a trained cell."""
        return self._replace(model=self.model.removesuffix(FUSED)) if self.model.endswith(FUSED) else None


class Timing(NamedTuple):
    """The cost of a cell: wall seconds without imports, and the peak resident size of the worker."""

    rows: int
    rows_resampled: int
    resample_seconds: float
    fit_seconds: float
    predict_seconds: float
    peak_rss_mb: float

    @property
    def seconds(self) -> float:
        """The sum over all steps."""
        return self.resample_seconds + self.fit_seconds + self.predict_seconds


class Answers(NamedTuple):
    """True codes (v,), and probabilities (v, k), of the rows of a validation part."""

    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]


class Examples(NamedTuple):
    """A few pixel rows made by a sampler, and the two parents of each, row by row."""

    parents: npt.NDArray[np.uint8]
    neighbours: npt.NDArray[np.uint8]
    children: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CellResult:
    """The result of a finished cell.

    Attributes
    ----------
    cell : Cell
    rows : ndarray of shape (m,), int64
        The held-out rows, as row numbers of the table.
    labels : ndarray of shape (m,), int64
        True codes.
    probabilities : ndarray of shape (m, k), float64
    timing : Timing
    counts_before, counts_after : ndarray of shape (k,), float64
        Training rows of each class before and after the sampler; the summed weights for a strategy that
        weights rows instead of adding some.
    natural_mix, training_mix : ndarray of shape (k,), float64
        Shares of the classes, each summing to 1: among the training rows of the fold before any sampler or
        model, and in the class mix to which the probabilities refer.
    notes : tuple of str
        What the cell did differently from the request.
    history : dict of str to ndarray of shape (points,), float64
        Training curves of an iterative model; empty for the others.
    examples : Examples or None
    validation : Answers or None
        Predictions for the validation part of a split: used for tuning thresholds and for no score.
    """

    cell: Cell
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    timing: Timing
    counts_before: npt.NDArray[np.float64]
    counts_after: npt.NDArray[np.float64]
    natural_mix: npt.NDArray[np.float64]
    training_mix: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()
    history: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    examples: Examples | None = None
    validation: Answers | None = None

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The decisions, shape (m,): the most probable class, the first in case of a tie."""
        return self.probabilities.argmax(axis=1).astype(np.int64)


@dataclass(frozen=True)
class CellFailure:
    """A cell that could not be finished, and the reason in one sentence."""

    cell: Cell
    reason: str

    @classmethod
    def from_error(cls, cell: Cell, error: BaseException) -> CellFailure:
        """Return the failure for an exception of a cell."""
        try:
            words = f"{type(error).__name__}: {error}"
        except Exception:  # A user-defined exception may fail to format its message.
            words = type(error).__name__
        return cls(cell, one_line(words))


def sorted_samplers(names: Iterable[str]) -> list[str]:
    """Sort samplers in table order: by the registry, then by name."""
    place = {name: i for i, name in enumerate((*STRATEGIES, *SAMPLERS))}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))


def sorted_models(names: Iterable[str]) -> list[str]:
    """Sort models in table order; a model with clinical columns follows its base."""
    from skinmnist.models.registry import MODELS  # A report reads cells without importing models.

    place = {name: i for i, name in enumerate(MODELS)}

    def key(name: str) -> tuple[int, str, str]:
        base = name.removesuffix(FUSED)
        return place.get(base, len(place)), base, name

    return sorted(names, key=key)
