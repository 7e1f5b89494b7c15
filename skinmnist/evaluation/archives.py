"""Arrays in files that may have been damaged since they were written."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.text import one_line


def decode_arrays(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an ``.npz``, by name.

    Parameters
    ----------
    content : bytes
        Of the whole file: of a damaged one, numpy would leave the handle open.

    Raises
    ------
    ValueError
        Where it is none, or damaged.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return dict(archive)
    except Exception as error:
        # Damaged archives make their readers raise all kinds of errors: BadZipFile, zlib.error, EOFError,
        # NotImplementedError for a method of compression, RuntimeError for a password ...
        raise ValueError(one_line(f"{type(error).__name__}: {error}")) from None
