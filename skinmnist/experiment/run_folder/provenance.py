"""Where the cells of a run come from: what a stored cell must agree with to count as one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell


@dataclass(frozen=True)
class Provenance:
    """What the cells of a run share.

    Attributes
    ----------
    identity : str
        Digest of data, protocol, code and library versions.
    fingerprints : mapping of str to str
        What identifies the user's own models and samplers, by name.
    class_names : tuple of str
    shape : tuple of int
        Height, width and channels of a picture.
    held_out : tuple of tuple of str
        For each repeat and fold, `digest_held_out` of its rows.
    """

    identity: str
    fingerprints: Mapping[str, str]
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    held_out: tuple[tuple[str, ...], ...]

    @classmethod
    def of_table(
        cls,
        identity: str,
        fingerprints: Mapping[str, str],
        table: PixelTable,
        folds: npt.NDArray[np.integer],
    ) -> Provenance:
        """Return that of cells on a table, whose rows are held out as `assign_folds` says."""
        held_out = tuple(
            tuple(
                digest_held_out(rows, np.asarray(table.labels[rows]), table.class_names)
                for rows in (np.flatnonzero(fold_of == fold) for fold in range(int(folds.max()) + 1))
            )
            for fold_of in folds
        )
        return cls(identity, fingerprints, tuple(table.class_names), table.shape, held_out)

    def own(self, cell: Cell) -> list[str]:
        """Return the identity and the fingerprints that a cell was computed under."""
        return [
            self.identity,
            self.fingerprints.get(cell.sampler, ""),
            self.fingerprints.get(cell.model, ""),
        ]

    def holds_out(self, cell: Cell, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> bool:
        """Tell whether a cell holds out these rows, and whether these are their labels."""
        if not (0 <= cell.repeat < len(self.held_out) and 0 <= cell.fold < len(self.held_out[cell.repeat])):
            return False
        return self.held_out[cell.repeat][cell.fold] == digest_held_out(rows, labels, self.class_names)


def digest_held_out(
    rows: npt.NDArray[np.integer], labels: npt.NDArray[np.integer], class_names: Sequence[str]
) -> str:
    """Return a digest of held-out rows and of the classes that they show."""
    state = hashlib.sha256(json.dumps(list(class_names)).encode())
    state.update(np.ascontiguousarray(rows, dtype="<i8").data)
    state.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return state.hexdigest()[:16]
