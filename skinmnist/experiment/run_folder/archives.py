"""Arrays of a run folder: what is damaged can be written anew."""

from __future__ import annotations

from pathlib import Path

from skinmnist.datasets.arrays import Array, decode_arrays
from skinmnist.errors import InputError
from skinmnist.text import one_line


def read_arrays(path: Path) -> dict[str, Array]:
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


def damaged(path: Path, reason: str) -> InputError:
    """Return the error for a file of a run folder that a run writes anew."""
    return InputError(
        f"{path} is damaged ({one_line(reason)}); type the command of this run again, which writes it anew"
    )
