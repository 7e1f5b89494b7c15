"""Which lesion every row of a run's table shows, kept in the run folder for whoever resamples lesions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.arrays import encode_arrays, take_array
from skinmnist.datasets.files import write_atomically
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.run_folder.archives import damaged, read_arrays

LESIONS_FILE = "lesions.npz"


def write_lesions(folder: Path, table: PixelTable) -> None:
    """Keep a number for the lesion of every row; a table that does not know its lesions leaves no file."""
    if table.lesion_ids is None:
        (folder / LESIONS_FILE).unlink(missing_ok=True)
        return
    codes = np.unique(table.lesion_ids, return_inverse=True)[1].astype(np.int32)
    write_atomically(folder / LESIONS_FILE, encode_arrays({"codes": codes}))


def read_lesions(folder: Path, rows: int) -> npt.NDArray[np.int32] | None:
    """Read what `write_lesions` has kept.

    Parameters
    ----------
    folder : Path
    rows : int
        Of the run's table.

    Returns
    -------
    ndarray of shape (rows,), int32, or None
        The lesion of row *i* of the table at position *i*; None where the folder does not tell.

    Raises
    ------
    InputError
        Where the file is there and cannot be read, or is not of this table.
    """
    path = folder / LESIONS_FILE
    if not path.is_file():
        return None
    arrays = read_arrays(path)
    try:
        codes = take_array(arrays, "codes", "iu", (rows,))
        if not ((codes >= 0) & (codes < rows)).all():
            raise ValueError(f"its lesions are not numbered from 0 to {rows - 1}")
    except ValueError as error:
        raise damaged(path, str(error)) from None
    return codes.astype(np.int32)
