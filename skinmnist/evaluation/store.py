"""Finished cells on disk: one checksummed file each, written whole or not at all, never a pickle."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.files import remove_torn, write_atomically
from skinmnist.evaluation.archives import decode_arrays
from skinmnist.evaluation.cells import Cell, CellResult, Examples, Timing

SUFFIX = ".cell"
_ARRAYS = ("rows", "labels", "predicted", "probabilities", "counts_before", "counts_after")
_CHECKSUM_LENGTH = 64


class CellStore:
    """The finished cells of one run folder.

    A file's name holds a key over everything that its content depends on, so that a cell is found again
    only by a run that would compute the same. The file is the SHA-256 of what follows, then an ``.npz``;
    a torn or altered file reads as absent.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    identity : str
        Digest of data, protocol, code and library versions, shared by all cells of a run.
    fingerprints : dict of str to str
        What identifies the user's own models and samplers, by name.
    """

    def __init__(self, folder: Path, identity: str, fingerprints: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.identity = identity
        self.fingerprints = fingerprints or {}
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, cell: Cell) -> Path:
        """Return where the cell's result stands, or will stand."""
        own = [self.fingerprints.get(cell.sampler, ""), self.fingerprints.get(cell.model, "")]
        key = hashlib.sha256(json.dumps([self.identity, *cell, *own]).encode()).hexdigest()[:16]
        readable = "-".join(re.sub(r"[^\w.+]", "_", name)[:60] for name in (cell.sampler, cell.model))
        return self.folder / f"{readable}-r{cell.repeat}-f{cell.fold}-{key}{SUFFIX}"

    def load(self, cell: Cell) -> CellResult | None:
        """Return the stored result, or None where there is none that can be trusted."""
        result = read_cell(self.path(cell))
        return result if result is not None and result.cell == cell else None

    def save(self, result: CellResult) -> None:
        """Store a finished cell; when this returns, it outlives a loss of power."""
        write_atomically(self.path(result.cell), _encode(result))

    def sweep(self) -> None:
        """Remove what killed runs left half written; only for whoever holds the folder."""
        remove_torn(self.folder)


def read_cell(path: Path) -> CellResult | None:
    """Read one cell file; None where it is absent, torn or altered."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, payload = content[:_CHECKSUM_LENGTH], content[_CHECKSUM_LENGTH:]
    if hashlib.sha256(payload).hexdigest().encode() != checksum:
        return None
    try:
        return _decode(payload)
    except (ValueError, KeyError, TypeError):
        return None  # A file with a right checksum that another version of the program wrote.


def _encode(result: CellResult) -> bytes:
    arrays: dict[str, npt.NDArray[Any]] = {name: getattr(result, name) for name in _ARRAYS}
    arrays |= {f"history_{name}": np.asarray(curve, float) for name, curve in result.history.items()}
    if result.examples is not None:
        arrays |= {f"examples_{name}": array for name, array in result.examples._asdict().items()}
    meta = {"cell": result.cell, "timing": result.timing, "notes": result.notes}
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    payload = buffer.getvalue()
    return hashlib.sha256(payload).hexdigest().encode() + payload


def _decode(payload: bytes) -> CellResult:
    arrays = decode_arrays(payload)
    meta = json.loads(arrays["meta"].tobytes())
    history = {name.removeprefix("history_"): a for name, a in arrays.items() if name.startswith("history_")}
    examples = {
        name.removeprefix("examples_"): a for name, a in arrays.items() if name.startswith("examples_")
    }
    return CellResult(
        cell=Cell(*meta["cell"]),
        timing=Timing(*meta["timing"]),
        notes=tuple(meta["notes"]),
        history=history,
        examples=Examples(**examples) if examples else None,
        **{name: arrays[name] for name in _ARRAYS},
    )
