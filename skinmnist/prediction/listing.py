"""Which pictures are meant: files, folders and patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

#: What a picture in a folder is told by; a file that is named itself may have any name.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_EXPLAINED = "-explained"


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
        path = Path(name)
        if path.is_dir():
            pictures = [file for file in sorted(path.iterdir()) if is_picture(file)]
            if not pictures:
                complaints.append(
                    f"the folder {name} holds no picture; expected files that end in {', '.join(SUFFIXES)}"
                )
        elif path.exists() or not glob.has_magic(name):
            pictures = [path]
        else:
            # Path.glob takes no pattern that begins at the root.
            fitting = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
            pictures = [file for file in map(Path, fitting) if is_picture(file)]
            if not pictures:
                complaints.append(f"no picture fits the pattern {name}; check it")
        found.update(dict.fromkeys(pictures))
    return list(found), complaints


def is_picture(file: Path) -> bool:
    """Tell by its name whether a file is a picture, and none that `explained_name` has named."""
    return file.is_file() and file.suffix.lower() in SUFFIXES and not file.stem.endswith(_EXPLAINED)


def explained_name(picture: Path) -> Path:
    """Return where the explanation of a picture is written: beside it."""
    return picture.with_name(f"{picture.stem}{_EXPLAINED}.png")
