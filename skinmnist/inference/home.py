"""Where models are kept when nobody says where, and which of them is the newest."""

from __future__ import annotations

import os
from pathlib import Path

from skinmnist.errors import InputError

SUFFIX = ".skm"


def model_folder() -> Path:
    """Return ``$SKINMNIST_MODELS``, else ``models`` in the platform's data folder for this user.

    It need not exist.
    """
    named = os.environ.get("SKINMNIST_MODELS")
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_data_path("skinmnist", appauthor=False) / "models"


def newest_model() -> Path:
    """Return the file in the model folder that was written last.

    Raises
    ------
    InputError
        Where there is none.
    """
    folder = model_folder()
    files = [file for file in folder.glob(f"*{SUFFIX}") if file.is_file()]
    if not files:
        raise InputError(
            f"no model was named and there is none in {folder}; train one with `python -m skinmnist.train`, "
            "or name a model file"
        )
    return max(files, key=lambda file: (file.stat().st_mtime_ns, file.name))
