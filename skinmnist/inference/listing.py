"""Which pictures are meant: files, folders and patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

#: What a picture in a folder is told by; a file that is named itself may have any name.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_EXPLAINED = "-explained.png"


def find_pictures(named: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Return the pictures that are meant, each once, and a complaint for each name that means none.

    Parameters
    ----------
    named : iterable of str
        Files; folders, of which the pictures are taken but not those of folders in them; patterns with
        ``*``, ``?``, ``[...]`` and ``**`` for any folders.
    """
    found: dict[Path, None] = {}
    complaints = []
    for name in named:
        try:
            pictures, complaint = _pictures_of(name)
        except OSError as error:
            pictures, complaint = [], f"{name} cannot be read ({error.strerror}); check its name and rights"
        if complaint:
            complaints.append(complaint)
        found.update(dict.fromkeys(pictures))
    return list(found), complaints


def _pictures_of(name: str) -> tuple[list[Path], str]:
    """Return the pictures that one name means, and what there is to complain of, if anything."""
    path = Path(name)
    if path.is_dir():
        pictures = [file for file in sorted(path.iterdir()) if is_picture(file)]
        complaint = f"the folder {name} holds no picture; expected files that end in {', '.join(SUFFIXES)}"
    elif path.exists() or not glob.has_magic(name):
        return [path], ""
    else:
        # Path.glob takes no pattern that begins at the root.
        fitting = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
        pictures = [file for file in map(Path, fitting) if is_picture(file)]
        complaint = f"no picture fits the pattern {name}; check it"
    return pictures, "" if pictures else complaint


def is_picture(file: Path) -> bool:
    """Tell by its name whether a file is a picture, and none that `explained_name` has named."""
    return file.is_file() and file.suffix.lower() in SUFFIXES and not file.name.endswith(_EXPLAINED)


def explained_name(picture: Path) -> Path:
    """Return where the explanation of a picture is written: beside it, under a name that no other has."""
    return picture.with_name(f"{picture.name}{_EXPLAINED}")
