"""How long cells are expected to take: to run the longest first, and to tell how much is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from skinmnist.experiment.cells import Cell
from skinmnist.models.spec import MOST_ROWS, ModelSpec

#: The size that `Cost.seconds` was measured at: training rows of a fold, and columns.
_REFERENCE_ROWS, _REFERENCE_COLUMNS = 8012, 2352


def expected_seconds(
    cell: Cell,
    spec: ModelSpec,
    class_counts: npt.NDArray[np.integer],
    columns: int,
    folds: int,
) -> float:
    """Guess a cell's wall seconds from its model's measured cost and the rows that its sampler makes.

    Only ratios between cells matter: what has been measured replaces the guess as a run goes on.
    """
    rows = min(float(class_counts.sum()) * (folds - 1) / folds, MOST_ROWS)
    over = any(part in cell.sampler for part in ("Over", "SMOTE", "ADASYN"))
    if spec.copies_as_weights and cell.sampler == "RandomOverSampler":
        over = False  # Copies travel as weights: there are no more rows than before.
    growth = float(class_counts.max()) * len(class_counts) / float(class_counts.sum()) if over else 1.0
    size = (rows / _REFERENCE_ROWS) * max(columns / _REFERENCE_COLUMNS, 0.15)
    return 0.2 + spec.cost.seconds * size * growth**spec.cost.growth


@dataclass
class Remaining:
    """The expected wall seconds of the cells that are left, corrected by those that are done.

    A pair of sampler and model that has been measured goes by its own mean; the guesses of the others are
    scaled by how much the guesses were off so far.
    """

    expected: Mapping[Cell, float]
    jobs: int
    measured: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    guessed_total: float = 0.0
    measured_total: float = 0.0

    def finished(self, cell: Cell, seconds: float) -> None:
        """Take note of a finished cell."""
        self.measured.setdefault(cell[:2], []).append(seconds)
        self.guessed_total += self.expected[cell]
        self.measured_total += seconds

    def seconds(self, left: Iterable[Cell]) -> float | None:
        """Return the expected wall seconds, or None before anything was measured."""
        if not self.guessed_total:
            return None
        off = self.measured_total / self.guessed_total
        each = [
            float(np.mean(self.measured[cell[:2]]))
            if cell[:2] in self.measured
            else off * self.expected[cell]
            for cell in left
        ]
        return max(sum(each) / self.jobs, max(each, default=0.0))
