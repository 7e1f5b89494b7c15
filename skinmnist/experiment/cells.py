"""The cell: the unit of work, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skinmnist.resampling.registry import SAMPLERS, STRATEGIES
from skinmnist.text import one_line

#: What the name of a model ends in where clinical columns are added to its answers.
FUSED = "+clinical"


class Cell(NamedTuple):
    """One sampler with one model on one fold: what runs in parallel, is stored, resumed, and fails alone."""

    sampler: str
    model: str
    repeat: int
    fold: int

    def __str__(self) -> str:
        return f"{self.sampler} x {self.model}, repeat {self.repeat}, fold {self.fold}"

    @property
    def fused(self) -> Cell:
        """The cell that adds clinical columns to the answers of this one."""
        return self._replace(model=self.model + FUSED)

    @property
    def base(self) -> Cell | None:
        """The cell whose answers this one adds clinical columns to; None for one that is trained itself."""
        return self._replace(model=self.model.removesuffix(FUSED)) if self.model.endswith(FUSED) else None


class Timing(NamedTuple):
    """The cost of a cell: wall seconds with imports excluded, and the worker's largest resident size."""

    rows: int
    rows_resampled: int
    resample_seconds: float
    fit_seconds: float
    predict_seconds: float
    peak_rss_mb: float

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return self.resample_seconds + self.fit_seconds + self.predict_seconds


class Answers(NamedTuple):
    """True codes (v,), and probabilities (v, k), of the rows of a validation part."""

    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]


class Examples(NamedTuple):
    """A few pixel rows that a sampler made, and the two rows that each lies between, row by row."""

    parents: npt.NDArray[np.uint8]
    neighbours: npt.NDArray[np.uint8]
    children: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CellResult:
    """What a finished cell leaves behind.

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
        Training rows of each class before and after the sampler; for a strategy that weights rows instead
        of adding some, the summed weights.
    natural_mix, training_mix : ndarray of shape (k,), float64
        Shares of the classes, each of sum 1: among the training rows of the fold, whatever the model and the
        sampler make of them, and in the mix that the probabilities answer to.
    notes : tuple of str
        What the cell had to do otherwise than asked.
    history : dict of str to ndarray of shape (points,), float64
        Training curves of an iterative model; empty for the others.
    examples : Examples or None
    validation : Answers or None
        Where the split has a validation part: what thresholds are tuned on, and no score is made of.
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
        """The decisions, shape (m,): the class of the largest probability, of equals the first."""
        return self.probabilities.argmax(axis=1).astype(np.int64)


@dataclass(frozen=True)
class CellFailure:
    """A cell that could not be finished, and why, in one sentence."""

    cell: Cell
    reason: str

    @classmethod
    def from_error(cls, cell: Cell, error: BaseException) -> CellFailure:
        """Turn what a cell raised into words."""
        try:
            words = f"{type(error).__name__}: {error}"
        except Exception:  # An error of the user's own may fail at its message.
            words = type(error).__name__
        return cls(cell, one_line(words))


def sorted_samplers(names: Iterable[str]) -> list[str]:
    """Sort samplers as tables show them: in the order of the registry, then by name."""
    place = {name: i for i, name in enumerate((*STRATEGIES, *SAMPLERS))}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))


def sorted_models(names: Iterable[str]) -> list[str]:
    """Sort models likewise; a model with clinical columns follows its base."""
    from skinmnist.models.registry import MODELS  # A report reads cells, and imports no model.

    place = {name: i for i, name in enumerate(MODELS)}

    def key(name: str) -> tuple[int, str, str]:
        base = name.removesuffix(FUSED)
        return place.get(base, len(place)), base, name

    return sorted(names, key=key)
