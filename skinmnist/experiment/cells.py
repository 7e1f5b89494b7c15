"""Cells, the units of work, and their results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skinmnist.names import pair_name
from skinmnist.resampling.strategies import SAMPLERS, STRATEGIES, split_share
from skinmnist.text import one_line

#: Suffix of the names of models whose predictions are combined with clinical columns.
FUSED = "+clinical"
#: Sampler name of an ensemble whose members have different samplers.
MIXED = "mixed"


class Cell(NamedTuple):
    """One sampler with one model on one fold.

    Cells run in parallel, are stored and reused individually, and fail independently of each other.
    """

    sampler: str
    model: str
    repeat: int
    fold: int

    def __str__(self) -> str:
        return f"{pair_name(self[:2])}, repeat {self.repeat}, fold {self.fold}"

    @property
    def fused(self) -> Cell:
        """The cell that adds clinical columns to the predictions of this cell."""
        return self._replace(model=self.model + FUSED)

    @property
    def base(self) -> Cell | None:
        """The cell to whose predictions this cell adds clinical columns; None for a trained cell."""
        return self._replace(model=self.model.removesuffix(FUSED)) if self.model.endswith(FUSED) else None


class Timing(NamedTuple):
    """The cost of a cell: wall seconds without imports, and the peak resident memory of the worker.

    `shared_seconds`, which are not part of the other numbers, were spent on networks that other cells of the
    fold use as well.
    """

    rows: int
    rows_resampled: int
    resample_seconds: float
    fit_seconds: float
    predict_seconds: float
    peak_rss_mb: float
    shared_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Total over all steps, without `shared_seconds`."""
        return self.resample_seconds + self.fit_seconds + self.predict_seconds


class Answers(NamedTuple):
    """True codes (v,) and probabilities (v, k) of the rows of a validation set."""

    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]


class Examples(NamedTuple):
    """A few synthetic pixel rows, with the two parents of each."""

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
        Row numbers of the held-out rows in the table.
    labels : ndarray of shape (m,), int64
        True codes.
    probabilities : ndarray of shape (m, k), float64
    timing : Timing
    counts_before, counts_after : ndarray of shape (k,), float64
        Number of training rows of each class before and after the sampler; summed weights for a strategy that
        weights rows instead of adding rows.
    natural_mix, training_mix : ndarray of shape (k,), float64
        Class shares that sum to 1. `natural_mix` describes the training rows of the fold before any sampler
        or model; `training_mix` is the class mix to which the probabilities refer.
    notes : tuple of str
        Deviations from the request.
    history : dict of str to ndarray of shape (points,), float64
        Training curves of an iterative model; empty for other models.
    examples : Examples or None
    validation : Answers or None
        Predictions for the validation set of a split, used only for tuning thresholds and never for scores.
    followers : tuple of CellResult or CellFailure
        Outcomes of the cells that ran after this one in the same worker; see `Task`.
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
    followers: tuple[CellResult | CellFailure, ...] = ()

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The decisions, shape (m,): the most probable class, or the first in case of a tie."""
        return self.probabilities.argmax(axis=1).astype(np.int64)


@dataclass(frozen=True)
class CellFailure:
    """A failed cell and, in one sentence, the reason."""

    cell: Cell
    reason: str
    followers: tuple[CellResult | CellFailure, ...] = ()

    @classmethod
    def from_error(cls, cell: Cell, error: BaseException) -> CellFailure:
        """Create a failure from the exception of a cell."""
        try:
            words = f"{type(error).__name__}: {error}"
        except Exception:  # User-defined exceptions may fail to format their messages.
            words = type(error).__name__
        return cls(cell, one_line(words))


def sorted_samplers(names: Iterable[str]) -> list[str]:
    """Sort samplers in table order: registered samplers first, each by its share, then others by name."""
    place = {name: i for i, name in enumerate((*STRATEGIES, *SAMPLERS))}

    def key(name: str) -> tuple[int, float, str]:
        base, share = split_share(name)
        return place.get(base, len(place)), 1.0 if share is None else share, name

    return sorted(names, key=key)


def sorted_models(names: Iterable[str]) -> list[str]:
    """Sort models in table order; a model with clinical columns follows its base model."""
    from skinmnist.models.registry import MODELS  # Reports read cells without importing models.

    place = {name: i for i, name in enumerate(MODELS)}

    def key(name: str) -> tuple[int, str, str]:
        base = name.removesuffix(FUSED)
        return place.get(base, len(place)), base, name

    return sorted(names, key=key)


def in_table_order(cells: Iterable[Cell]) -> list[Cell]:
    """Sort cells by sampler, model, repeat and fold, as in all tables of a run."""
    every = list(cells)
    samplers = {name: i for i, name in enumerate(sorted_samplers({cell.sampler for cell in every}))}
    models = {name: i for i, name in enumerate(sorted_models({cell.model for cell in every}))}
    return sorted(every, key=lambda c: (samplers[c.sampler], models[c.model], c.repeat, c.fold))
