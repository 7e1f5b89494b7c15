"""Rows of the table in the run folder: their lesions and patients, and the pixels of confident mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.datasets.arrays import encode_arrays, read_arrays, take_array
from skinmnist.datasets.files import write_atomically
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.metrics import best_pair
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.run_folder.store import reading

LESIONS_FILE = "lesions.npz"
PATIENTS_FILE = "patients.npz"
MISTAKES_FILE = "mistakes.npz"
MOST_MISTAKES = 24


def write_lesions(folder: Path, table: PixelTable) -> None:
    """Store a number for the lesion of every row; a table without lesion ids leaves no file."""
    if table.lesion_ids is None:
        (folder / LESIONS_FILE).unlink(missing_ok=True)
        return
    codes = np.unique(table.lesion_ids, return_inverse=True)[1].astype(np.int32)
    write_atomically(folder / LESIONS_FILE, encode_arrays({"codes": codes}))


def read_lesions(folder: Path, rows: int) -> npt.NDArray[np.int32] | None:
    """Read the lesion codes, one a row of the table; None where the folder has none."""
    path = folder / LESIONS_FILE
    if not path.is_file():
        return None
    with reading(path):
        codes = take_array(read_arrays(path), "codes", "iu", (rows,))
        if not ((codes >= 0) & (codes < rows)).all():
            raise ValueError(f"its lesions are not numbered from 0 to {rows - 1}")
    return codes.astype(np.int32)


def write_patients(folder: Path, table: PixelTable) -> None:
    """Store the clinical columns; a table that has none leaves no file."""
    known = table.clinical or {}
    columns: dict[str, Any] = {name: known[name] for name in facts.CLINICAL_COLUMNS if name in known}
    if not columns:
        (folder / PATIENTS_FILE).unlink(missing_ok=True)
        return
    write_atomically(folder / PATIENTS_FILE, encode_arrays(columns))


def read_patients(folder: Path, rows: int) -> dict[str, npt.NDArray[Any]]:
    """Read the clinical columns, one value a row of the table; empty where the folder has none."""
    path = folder / PATIENTS_FILE
    if not path.is_file():
        return {}
    with reading(path):
        arrays = read_arrays(path)
        names = [name for name in facts.CLINICAL_COLUMNS if name in arrays]
        columns = {name: take_array(arrays, name, "fU", (rows,)) for name in names}
    return columns


def confident_mistakes(record: RunRecord) -> pd.DataFrame:
    """Return the held-out pictures that the best pair got wrong with most confidence.

    Columns ``row, label, predicted, confidence`` (the probability of the predicted class), by falling
    confidence, then by row; each lesion once where the folder knows lesions, and no picture twice.
    """
    names = record.info.table.class_names
    pair = best_pair(record.scores)
    rows = record.predictions
    wrong = rows["label"] != rows["predicted"]
    if pair is not None:
        wrong &= (rows["sampler"] == pair[0]) & (rows["model"] == pair[1])
    rows = rows[wrong]
    probabilities = rows[[f"p_{name}" for name in names]].to_numpy(dtype=float)
    predicted = rows["predicted"].to_numpy(dtype=np.int64)
    found = rows[["row", "label", "predicted"]].astype(np.int64)
    found["confidence"] = probabilities[np.arange(len(predicted)), predicted]
    found = found.sort_values(["confidence", "row"], ascending=[False, True], kind="stable")
    lesions = read_lesions(record.folder, record.info.table.rows)
    shown = found["row"] if lesions is None else pd.Series(lesions[found["row"]], index=found.index)
    return found[~shown.duplicated()].head(MOST_MISTAKES).reset_index(drop=True)


def write_mistakes(record: RunRecord, table: PixelTable) -> None:
    """Store the pixels of `confident_mistakes`."""
    rows = confident_mistakes(record)["row"].to_numpy(dtype=np.int64)
    pictures = np.asarray(table.pixels[rows]).reshape(len(rows), *table.shape)
    write_atomically(record.folder / MISTAKES_FILE, encode_arrays({"rows": rows, "pictures": pictures}))


def read_mistakes(record: RunRecord) -> tuple[pd.DataFrame, npt.NDArray[np.uint8]]:
    """Read the mistakes whose pixels are in the folder, and these pixels, (m, height, width, channels).

    None are in the folder of a run before this file was written; InputError where it cannot be read.
    """
    found, shape, path = confident_mistakes(record), record.info.table.shape, record.folder / MISTAKES_FILE
    if not path.is_file():
        return found.iloc[:0], np.zeros((0, *shape), np.uint8)
    with reading(path):
        arrays = read_arrays(path)
        rows = take_array(arrays, "rows", "i", (None,))
        pictures = take_array(arrays, "pictures", "u", (len(rows), *shape))
    place = {int(row): position for position, row in enumerate(rows)}
    found = found[found["row"].isin(list(place))].reset_index(drop=True)
    return found, np.asarray(pictures[[place[row] for row in found["row"]]], dtype=np.uint8)
