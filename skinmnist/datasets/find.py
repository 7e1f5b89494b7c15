"""Where the pixel table is looked for when none is named."""

from __future__ import annotations

import os
from pathlib import Path

from skinmnist import facts
from skinmnist.errors import InputError


def find_table(path: str | os.PathLike[str] | None = None) -> Path | None:
    """Find the pixel table to work on.

    Parameters
    ----------
    path : str, path-like or None
        A table that the user named; it is returned as given, whether or not it exists.

    Returns
    -------
    Path or None
        Else the first of `skinmnist.facts.TABLE_FILES` in ``$SKINMNIST_DATA`` (a folder; or a table of any
        name, which is returned), then in ``data/`` of the working directory; None where there is none.

    Raises
    ------
    InputError
        Where ``$SKINMNIST_DATA`` is set to what does not exist.
    """
    if path is not None:
        return Path(path)
    folders = [Path("data")]
    named = os.environ.get("SKINMNIST_DATA")
    if named:
        place = Path(named)
        if not place.exists():
            raise InputError(
                f"$SKINMNIST_DATA is {named!r}, which does not exist; set it to a pixel table or to the "
                f"folder that holds {' or '.join(facts.TABLE_FILES)}, or unset it"
            )
        if not place.is_dir():
            return place
        folders.insert(0, place)
    candidates = (folder / name for folder in folders for name in facts.TABLE_FILES)
    return next((table for table in candidates if table.is_file()), None)
