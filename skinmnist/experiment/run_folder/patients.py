"""What is known of the patient behind every row of a run's table, kept in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.arrays import encode_arrays, take_array
from skinmnist.datasets.files import write_atomically
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.run_folder.archives import damaged, read_arrays

PATIENTS_FILE = "patients.npz"


def write_patients(folder: Path, table: PixelTable) -> None:
    """Keep the clinical columns of every row; a table that has none leaves no file."""
    known = table.clinical or {}
    columns: dict[str, Any] = {name: known[name] for name in facts.CLINICAL_COLUMNS if name in known}
    if not columns:
        (folder / PATIENTS_FILE).unlink(missing_ok=True)
        return
    write_atomically(folder / PATIENTS_FILE, encode_arrays(columns))


def read_patients(folder: Path, rows: int) -> dict[str, npt.NDArray[Any]]:
    """Read what `write_patients` has kept.

    Parameters
    ----------
    folder : Path
    rows : int
        Of the run's table.

    Returns
    -------
    dict of str to ndarray of shape (rows,)
        As `PixelTable.clinical`, row *i* of the table at position *i*; empty where the folder does not tell.

    Raises
    ------
    InputError
        Where the file is there and cannot be read, or is not of this table.
    """
    path = folder / PATIENTS_FILE
    if not path.is_file():
        return {}
    arrays = read_arrays(path)
    try:
        return {
            name: take_array(arrays, name, "fU", (rows,)) for name in facts.CLINICAL_COLUMNS if name in arrays
        }
    except ValueError as error:
        raise damaged(path, str(error)) from None
