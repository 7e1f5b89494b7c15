"""Finished cells on disk, in one checksummed file each, written atomically and without pickle.

A stored cell is valid only if its `Provenance` equals that of the run.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.decoding import (
    MOST_BYTES,
    Amount,
    Count,
    decode,
    decode_arrays,
    encode_arrays,
    take_array,
)
from skinmnist.datasets.files import read_foreign, remove_torn, write_atomically
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Answers, Cell, CellResult, Examples, Timing
from skinmnist.text import one_line

SUFFIX = ".cell"
_ROWS = ("rows", "labels")
_COUNTS = ("counts_before", "counts_after")
_MIXES = ("natural_mix", "training_mix")
_ARRAYS = (*_ROWS, "probabilities", *_COUNTS, *_MIXES)
_CHECKSUM_LENGTH = 64
#: Tolerance for sums of probabilities or class mixes, to allow rounding even of 32-bit numbers.
_ROUNDING = 1e-5


class CellStore:
    """The finished cells of a run folder.

    Each file name contains a key derived from all inputs of the cell, so only a run that would compute the
    same result reuses it. The file consists of a SHA-256 checksum and an ``.npz``, which repeats the key
    data. A file that is incomplete, altered, or named after another cell or run counts as absent.
    """

    def __init__(self, folder: Path, provenance: Provenance) -> None:
        self.folder = folder
        self.provenance = provenance

    def path(self, cell: Cell) -> Path:
        """Return the path for the result of a cell, even if it does not exist."""
        identity, *own = self.provenance.own(cell)
        key = hashlib.sha256(json.dumps([identity, *cell, *own]).encode()).hexdigest()[:16]
        readable = "-".join(re.sub(r"[^\w.+]", "_", name)[:60] for name in (cell.sampler, cell.model))
        return self.folder / f"{readable}-r{cell.repeat}-f{cell.fold}-{key}{SUFFIX}"

    def load(self, cell: Cell) -> CellResult | None:
        """Return the stored result, or None if there is no valid file."""
        return read_cell(self.path(cell), cell, self.provenance)

    def save(self, result: CellResult) -> None:
        """Store a finished cell; once this returns, the file survives a power failure."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(result.cell), _encode(result, self.provenance))

    def sweep(self) -> None:
        """Remove incomplete files of killed runs; the caller must hold the lock on the folder."""
        remove_torn(self.folder)


def read_cell(path: Path, cell: Cell, provenance: Provenance) -> CellResult | None:
    """Read a cell file; None if it is absent, incomplete, altered, or from another cell or run."""
    try:
        content = read_foreign(path, MOST_BYTES)
    except (OSError, ValueError):
        return None
    checksum, payload = content[:_CHECKSUM_LENGTH], content[_CHECKSUM_LENGTH:]
    if hashlib.sha256(payload).hexdigest().encode() != checksum:
        return None
    try:
        return _decode(payload, cell, provenance)
    except (ValueError, RecursionError):
        return None  # A file with a valid checksum from another run or program.


@dataclass(frozen=True)
class _Meta:
    """The contents of a file other than its arrays."""

    cell: tuple[str, str, Count, Count]
    timing: tuple[Count, Count, Amount, Amount, Amount, Amount]
    notes: tuple[str, ...]
    provenance: tuple[str, ...]
    shared_seconds: Amount = 0.0


def _encode(result: CellResult, provenance: Provenance) -> bytes:
    arrays: dict[str, npt.NDArray[Any]] = {name: getattr(result, name) for name in _ARRAYS}
    arrays |= {f"history_{name}": np.asarray(curve, float) for name, curve in result.history.items()}
    if result.examples is not None:
        arrays |= {f"examples_{name}": array for name, array in result.examples._asdict().items()}
    if result.validation is not None:
        arrays |= {f"validation_{name}": array for name, array in result.validation._asdict().items()}
    meta = {
        "cell": result.cell,
        "timing": result.timing[:-1],
        "shared_seconds": result.timing.shared_seconds,
        "notes": result.notes,
        "provenance": provenance.own(result.cell),
    }
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    payload = encode_arrays(arrays)
    return hashlib.sha256(payload).hexdigest().encode() + payload


def _decode(payload: bytes, cell: Cell, provenance: Provenance) -> CellResult:
    """Read a cell and validate type, shape and range of every array; raises ValueError if one is invalid."""
    arrays = decode_arrays(payload)
    meta = decode(_Meta, json.loads(take_array(arrays, "meta", "u", (None,)).tobytes()))
    if [meta.cell, meta.provenance] != [tuple(cell), tuple(provenance.own(cell))]:
        raise ValueError("it is another cell, or from another run")
    n_classes = len(provenance.class_names)
    rows, labels = (_exactly(np.int64, take_array(arrays, name, "i", (None,))) for name in _ROWS)
    probabilities = _exactly(np.float64, take_array(arrays, "probabilities", "f", (len(rows), n_classes)))
    counts, mixes = (
        [_exactly(np.float64, take_array(arrays, name, "f", (n_classes,))) for name in names]
        for names in (_COUNTS, _MIXES)
    )
    if not provenance.holds_out(cell, rows, labels):
        raise ValueError("its rows or their labels are not the held-out ones")
    if not all(_are_shares(shares) for shares in (probabilities, *mixes)):
        raise ValueError("its probabilities or its class mixes are invalid")
    if not all(((count >= 0) & (count < np.inf)).all() for count in counts) or not counts[0].any():
        raise ValueError("its counts of training rows are invalid")
    return CellResult(
        cell=cell,
        rows=rows,
        labels=labels,
        probabilities=probabilities,
        timing=Timing(*meta.timing, meta.shared_seconds),
        counts_before=counts[0],
        counts_after=counts[1],
        natural_mix=mixes[0],
        training_mix=mixes[1],
        notes=meta.notes,
        history=_history(arrays),
        examples=_examples(arrays, provenance),
        validation=_validation(arrays, n_classes),
    )


def _history(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float64]]:
    names = [name for name in arrays if name.startswith("history_")]
    return {  # Cells written by older versions use "watched".
        name.removeprefix("history_").replace("watched_", "validation_"): _exactly(
            np.float64, take_array(arrays, name, "f", (None,))
        )
        for name in names
    }


def _examples(arrays: dict[str, npt.NDArray[Any]], provenance: Provenance) -> Examples | None:
    if not any(name.startswith("examples_") for name in arrays):
        return None
    labels = _exactly(np.int64, take_array(arrays, "examples_labels", "i", (None,)))
    wanted = len(labels), math.prod(provenance.shape)
    parents, neighbours, children = (
        _exactly(np.uint8, take_array(arrays, f"examples_{name}", "u", wanted))
        for name in ("parents", "neighbours", "children")
    )
    if not _are_codes(labels, len(provenance.class_names)):
        raise ValueError("its examples have an invalid class")
    return Examples(parents, neighbours, children, labels)


def _validation(arrays: dict[str, npt.NDArray[Any]], n_classes: int) -> Answers | None:
    if not any(name.startswith("validation_") for name in arrays):
        return None
    labels = _exactly(np.int64, take_array(arrays, "validation_labels", "i", (None,)))
    wanted = len(labels), n_classes
    probabilities = _exactly(np.float64, take_array(arrays, "validation_probabilities", "f", wanted))
    if not _are_codes(labels, n_classes) or not _are_shares(probabilities):
        raise ValueError("its predictions for the validation part are invalid")
    return Answers(labels, probabilities)


def _exactly(kind: type[np.generic], array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype != kind:
        raise ValueError(f"an array is {array.dtype.name[:40]}, expected {np.dtype(kind).name}")
    return array


def _are_shares(values: npt.NDArray[np.float64]) -> bool:
    """Return whether values are between 0 and 1 and sum to 1 along the last axis; False for NaN."""
    inside = ((values >= 0) & (values <= 1 + _ROUNDING)).all()
    return bool(inside and (np.abs(values.sum(axis=-1) - 1) <= _ROUNDING).all())


def _are_codes(values: npt.NDArray[np.int64], n_classes: int) -> bool:
    return bool(((values >= 0) & (values < n_classes)).all())


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert errors on reading a file that a run can restore into an InputError that names the file."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path} is damaged ({one_line(reason)}); run the command of this run again, which rewrites it"
        ) from None


@dataclass(frozen=True)
class Provenance:
    """The common origin of the cells of a run, which a stored cell must match.

    `identity` is a digest of data, protocol, code and library versions; `fingerprints` identify user-defined
    models and samplers by name; `held_out` contains the `digest_held_out` of each repeat and fold.
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
        """Return the provenance of cells on a table with the folds of `assign_folds`."""
        held_out = tuple(
            tuple(
                digest_held_out(rows, np.asarray(table.labels[rows]), table.class_names)
                for rows in (np.flatnonzero(fold_of == fold) for fold in range(int(folds.max()) + 1))
            )
            for fold_of in folds
        )
        return cls(identity, fingerprints, tuple(table.class_names), table.shape, held_out)

    def own(self, cell: Cell) -> list[str]:
        """Return the identity and the fingerprints that apply to a cell."""
        return [
            self.identity,
            self.fingerprints.get(cell.sampler, ""),
            self.fingerprints.get(cell.model, ""),
        ]

    def holds_out(self, cell: Cell, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> bool:
        """Return whether a cell holds out these rows with these labels."""
        if not (0 <= cell.repeat < len(self.held_out) and 0 <= cell.fold < len(self.held_out[cell.repeat])):
            return False
        return self.held_out[cell.repeat][cell.fold] == digest_held_out(rows, labels, self.class_names)


def digest_held_out(
    rows: npt.NDArray[np.integer], labels: npt.NDArray[np.integer], class_names: Sequence[str]
) -> str:
    """Return a digest of held-out rows and their classes."""
    state = hashlib.sha256(json.dumps(list(class_names)).encode())
    state.update(np.ascontiguousarray(rows, dtype="<i8").data)
    state.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return state.hexdigest()[:16]
