"""Arrays in files that may have been damaged, or written by somebody else, since they were written."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.text import one_line

#: Bytes that the arrays of one file may take: those of a few million rows.
MOST_BYTES = 2**30


def decode_arrays(content: bytes, most: int = MOST_BYTES) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an ``.npz``, by name.

    Parameters
    ----------
    content : bytes
        Of the whole file: of a damaged one, numpy would leave the handle open.
    most : int
        Bytes that the arrays may take together: zeros are packed a thousandfold.

    Raises
    ------
    ValueError
        Where it is none, damaged, or larger.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > most:
            raise ValueError(f"its arrays take {size:,} bytes, expected at most {most:,}")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = dict(archive)
    except Exception as error:
        # Damaged archives make their readers raise all kinds of errors: BadZipFile, zlib.error, EOFError,
        # NotImplementedError for a method of compression, RuntimeError for a password ...
        raise ValueError(one_line(f"{type(error).__name__}: {error}")) from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # A member that is no array comes as its bytes.
            raise ValueError(f"{ascii(name)[:60]} is no array")
    return arrays


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an ``.npz`` of a run folder, by name.

    Raises
    ------
    InputError
        Where it cannot be read.
    """
    try:
        return decode_arrays(path.read_bytes())
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise damaged(path, str(error)) from None


def take_array(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, kinds: str, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """Return an array of a certain kind and shape.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    name : str
    kinds : str
        Kinds of numpy's dtypes, such as ``"iu"``.
    shape : tuple of int or None
        None: any length.

    Raises
    ------
    ValueError
        Where it is absent, or of another kind or shape.
    """
    if name not in arrays:
        raise ValueError(f"the array {name} is missing")
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in kinds or not fits:
        wanted = " x ".join("any" if length is None else str(length) for length in shape)
        received = f"{array.dtype.name[:40]} of {' x '.join(map(str, array.shape)) or 'no length'}"
        raise ValueError(f"the array {name} is {received}, expected {wanted} of kind {kinds}")
    return array


def damaged(path: Path, reason: str) -> InputError:
    """Return the error for a file of a run folder that a run writes anew."""
    return InputError(
        f"{path} is damaged ({one_line(reason)}); type the command of this run again, which writes it anew"
    )
