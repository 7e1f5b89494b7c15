"""Which lesion every row of a run's table shows, kept in the run folder for whoever resamples lesions."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.files import write_atomically
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.evaluation.archives import decode_arrays

LESIONS_FILE = "lesions.npz"


def write_lesions(folder: Path, table: PixelTable) -> None:
    """Keep a number for the lesion of every row; a table that does not know its lesions leaves no file."""
    if table.lesion_ids is None:
        (folder / LESIONS_FILE).unlink(missing_ok=True)
        return
    codes = np.unique(table.lesion_ids, return_inverse=True)[1].astype(np.int32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, codes=codes)
    write_atomically(folder / LESIONS_FILE, buffer.getvalue())


def read_lesions(folder: Path) -> npt.NDArray[np.int32] | None:
    """Read what `write_lesions` has kept.

    Returns
    -------
    ndarray of shape (n,), int32, or None
        The lesion of row *i* of the table at position *i*; None where the folder does not tell.

    Raises
    ------
    InputError
        Where the file is there and cannot be read.
    """
    path = folder / LESIONS_FILE
    if not path.is_file():
        return None
    try:
        return np.asarray(decode_arrays(path.read_bytes())["codes"], dtype=np.int32)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); type the command of this run again, which writes it anew"
        ) from None
