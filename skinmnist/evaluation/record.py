"""The run folder as files: written by a comparison, read by everything that reports on it."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.datasets.files import write_atomically
from skinmnist.datasets.mapped import row_blocks
from skinmnist.errors import InputError
from skinmnist.evaluation.archives import decode_arrays
from skinmnist.evaluation.cells import Cell, CellFailure, CellResult, Timing
from skinmnist.evaluation.frames import csv_bytes
from skinmnist.evaluation.metrics import score_predictions
from skinmnist.evaluation.store import read_cell
from skinmnist.text import json_text, one_line

RUN_FILE = "run.json"
PICTURES_FILE = "pictures.npz"
CELLS_FOLDER = "cells"
#: Predictions that are written together: as text they take far more memory than as numbers.
WRITTEN_ROWS = 100_000
_CELL_COLUMNS = list(Cell._fields)
_NEEDED = {"table", "protocol", "cells", "grid", "notes"}


@dataclass(frozen=True, eq=False)
class RunRecord:
    """Everything that a run folder tells.

    Attributes
    ----------
    folder : Path
    info : dict
        The content of ``run.json``.
    results : tuple of CellResult
        Finished cells, in the order of the tables.
    failures : tuple of CellFailure
    predictions, scores, timings : DataFrame
        As in ``predictions.csv.gz``, ``scores.csv`` and ``timings.csv``.
    pictures : ndarray of shape (m, height, width, channels), uint8
        A few pictures of each class.
    picture_labels : ndarray of shape (m,), int64
    """

    folder: Path
    info: dict[str, Any]
    results: tuple[CellResult, ...]
    failures: tuple[CellFailure, ...]
    predictions: pd.DataFrame
    scores: pd.DataFrame
    timings: pd.DataFrame
    pictures: npt.NDArray[np.uint8]
    picture_labels: npt.NDArray[np.int64]


def predictions_table(results: Sequence[CellResult], class_names: Sequence[str]) -> pd.DataFrame:
    """Lay out held-out predictions, one row for each picture and cell, rows ascending within a cell."""
    columns = [*_CELL_COLUMNS, "row", "label", "predicted", *(f"p_{name}" for name in class_names)]
    frames = []
    for result in results:
        frame = pd.DataFrame(result.probabilities, columns=columns[-len(class_names) :])
        for position, name in enumerate(_CELL_COLUMNS):
            frame.insert(position, name, result.cell[position])
        for offset, name in enumerate(("rows", "labels", "predicted")):
            frame.insert(len(_CELL_COLUMNS) + offset, columns[4 + offset], getattr(result, name))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def timings_table(results: Sequence[CellResult]) -> pd.DataFrame:
    """Lay out the price of each cell."""
    records = [(*result.cell, *result.timing) for result in results]
    return pd.DataFrame.from_records(records, columns=[*_CELL_COLUMNS, *Timing._fields])


def write_tables(record: RunRecord) -> None:
    """Write the predictions, scores and timings of a run into its folder.

    Floats read back exactly, so that scores can be recomputed from the predictions to the last bit.
    """
    packed = io.BytesIO()
    # No name and no time in the header: equal predictions make equal files.
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=5, mtime=0) as stream:
        for rows in row_blocks(max(len(record.predictions), 1), WRITTEN_ROWS):
            stream.write(csv_bytes(record.predictions.iloc[rows], header=rows.start == 0))
    write_atomically(record.folder / "predictions.csv.gz", packed.getvalue())
    write_atomically(record.folder / "scores.csv", csv_bytes(record.scores))
    write_atomically(record.folder / "timings.csv", csv_bytes(record.timings.round(4)))


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """Write ``run.json``."""
    write_atomically(folder / RUN_FILE, f"{json_text(info, indent=1)}\n".encode())


def write_pictures(folder: Path, pictures: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> None:
    """Keep the pictures that the report shows of each class."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pictures=pictures, labels=labels)
    write_atomically(folder / PICTURES_FILE, buffer.getvalue())


def read_info(folder: Path) -> dict[str, Any] | None:
    """Read ``run.json``, or None where the folder holds no run.

    Raises
    ------
    InputError
        Where the file is there and cannot be understood.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        return None
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(info, dict) or not info.keys() >= _NEEDED:
            raise ValueError(f"expected the keys {', '.join(sorted(_NEEDED))}")
        needed = {*_CELL_COLUMNS, "status"}
        complete = all(needed.issubset(cell) for cell in info["cells"])
        if not info["table"]["class_names"] or not complete:
            raise ValueError("its table or its cells lack what describes them")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is no record of a run ({one_line(str(error))}); name another folder, or start over "
            "with --fresh"
        ) from None
    return info


def read_run(folder: str | Path) -> RunRecord:
    """Read a run folder; nothing is trained and no model is imported.

    Raises
    ------
    InputError
        Where the folder holds no run.
    """
    folder = Path(folder)
    info = read_info(folder)
    if info is None:
        raise InputError(
            f"{folder} holds no {RUN_FILE}; expected a folder that skinmnist.compare has written"
        )
    try:
        return build_record(folder, info)
    except (OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(
            f"the run in {folder} is damaged ({error}); type its command again, which repairs it"
        ) from None


def build_record(folder: Path, info: dict[str, Any]) -> RunRecord:
    """Put together what ``run.json`` lists and the stored cells hold."""
    results, failures = [], []
    for entry in info["cells"]:
        cell = Cell(*(entry[name] for name in _CELL_COLUMNS))
        if entry["status"] == "failed":
            failures.append(CellFailure(cell, entry["reason"]))
        elif entry["status"] == "done":
            result = read_cell(folder / CELLS_FOLDER / Path(entry["file"]).name)
            if result is None or result.cell != cell:
                failures.append(CellFailure(cell, "its file is missing or damaged; run the comparison again"))
            else:
                results.append(result)
    class_names = info["table"]["class_names"]
    predictions = predictions_table(results, class_names)
    scores = score_predictions(predictions, class_names)
    shown = decode_arrays((folder / PICTURES_FILE).read_bytes())
    return RunRecord(
        folder=folder,
        info=info,
        results=tuple(results),
        failures=tuple(failures),
        predictions=predictions,
        scores=scores,
        timings=timings_table(results),
        pictures=shown["pictures"],
        picture_labels=shown["labels"],
    )
