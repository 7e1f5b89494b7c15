"""Find pictures in folders, with their classes from a metadata file or from one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.classes_file import in_code_order, spell_classes
from skinmnist.datasets.files import read_file
from skinmnist.datasets.metadata import REQUIRED_COLUMNS, read_metadata, read_rows
from skinmnist.errors import InputError
from skinmnist.text import LONGEST_NAME, is_name, shown

#: Extensions of picture files. Unreadable files are reported when they are opened, not skipped silently.
PICTURE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".webp",
        ".gif",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
    }
)
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a table, in row order."""

    paths: tuple[Path, ...]
    labels: npt.NDArray[np.int64]  # shape (n,), int64: indices into `class_names`
    #: In the order of `skinmnist.facts.CLASS_NAMES` if it contains all classes, otherwise alphabetical.
    class_names: tuple[str, ...]
    header: tuple[str, ...]  # Metadata columns, including the `REQUIRED_COLUMNS`
    #: Metadata of each picture; ``lesion_id`` is empty if unknown.
    rows: tuple[tuple[str, ...], ...]
    without_picture: int = 0  # Number of omitted metadata rows
    ignored: tuple[Path, ...] = ()  # Files without a picture extension
    nowhere: tuple[Path, ...] = ()  # Broken links, and links to files that are already listed

    def __len__(self) -> int:
        return len(self.paths)


def list_pictures(folders: Sequence[Path], metadata: Path | None = None) -> Pictures:
    """List the pictures in a metadata file, or the pictures in one subfolder per class.

    With metadata (a CSV file with at least ``lesion_id``, ``image_id`` and ``dx``), pictures are identified
    by their ``image_id`` and may be at any depth. By default, the first ``HAM10000_metadata.csv`` in one of
    the folders is used; if it does not exist, each folder must contain one subfolder per class. Every picture
    must have a metadata row, a class and a unique name.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"received {folder}, which is not a folder; expected a folder of pictures")
    if metadata is None:
        inside = (folder / facts.METADATA_FILE for folder in folders)
        metadata = next((path for path in inside if path.is_file()), None)
    return _by_folder(folders) if metadata is None else _by_metadata(folders, metadata)


def _by_metadata(folders: Sequence[Path], metadata: Path) -> Pictures:
    read_metadata(metadata)  # Raises an error for any invalid cell.
    header, rows = read_rows(read_file(metadata), metadata)
    id_column, dx_column = header.index("image_id"), header.index("dx")
    where_of: dict[str, str] = {}
    for where, cells in rows:
        cells[id_column] = name = cells[id_column].strip()
        if name in where_of:
            raise InputError(
                f"{where}, column 'image_id': received {shown(name)}, which also occurs at {where_of[name]}; "
                "expected every picture once, so drop one of the rows"
            )
        where_of[name] = where
    paths, ignored, nowhere = _pictures_below(folders)
    by_name = _unique_names((path.stem, path) for path in paths)
    strangers = [by_name[name] for name in by_name if name not in where_of]
    if strangers:
        raise InputError(
            f"{_count(len(strangers), 'picture')} without a row in {metadata}: {listed(strangers)}; "
            "expected one row per picture, so add them or move the pictures away"
        )
    present = [tuple(cells) for _, cells in rows if cells[id_column] in by_name]
    class_names, labels = _encode([cells[dx_column] for cells in present], metadata)
    return Pictures(
        paths=tuple(by_name[cells[id_column]] for cells in present),
        labels=labels,
        class_names=class_names,
        header=tuple(header),
        rows=tuple(present),
        without_picture=len(rows) - len(present),
        ignored=tuple(path for path in ignored if path != metadata),
        nowhere=tuple(nowhere),
    )


def _by_folder(folders: Sequence[Path]) -> Pictures:
    found: list[tuple[str, str, Path]] = []
    ignored, nowhere = list[Path](), list[Path]()
    for folder, prefix in zip(folders, _prefixes(folders), strict=True):
        files, links = _files_below(folder)
        nowhere += links
        for path in files:
            is_picture = _is_picture(path)
            inside = path.relative_to(folder)
            if is_picture and len(inside.parts) != 2:
                side = "above" if len(inside.parts) < 2 else "below"
                raise InputError(
                    f"{path} is {side} the level of the class folders; expected FOLDER/CLASS/PICTURE, "
                    "so name the folder that holds the classes, or give the classes with --metadata"
                )
            if is_picture:
                image_id = prefix + inside.with_suffix("").as_posix()
                if not is_name(image_id) or not is_name(inside.parts[0]):
                    raise InputError(
                        f"received the picture {shown(str(inside))}; expected folder and name of at most "
                        f"{LONGEST_NAME} printable characters, so rename it or its folder"
                    )
                found.append((inside.parts[0], image_id, path))
            if not is_picture:
                ignored.append(path)
    if not found:
        raise InputError(f"{listed(folders)}: no picture; expected a folder of pictures for each class")
    by_name = _unique_names((image_id, path) for _, image_id, path in found)
    nowhere += [path for _, image_id, path in found if path is not by_name[image_id]]
    found = [picture for picture in found if picture[2] is by_name[picture[1]]]
    class_names, labels = _encode([name for name, _, _ in found], folders[0])
    return Pictures(
        paths=tuple(path for _, _, path in found),
        labels=labels,
        class_names=class_names,
        header=REQUIRED_COLUMNS,
        rows=tuple(("", image_id, name) for name, image_id, _ in found),
        ignored=tuple(ignored),
        nowhere=tuple(nowhere),
    )


def _prefixes(folders: Sequence[Path]) -> list[str]:
    """Return the last parts of each folder's path that tell the folders apart; nothing for one folder."""
    if len(folders) == 1:
        return [""]
    parts = [folder.resolve().parts for folder in folders]
    depths = range(1, max(map(len, parts)) + 1)
    depth = next(n for n in depths if len({own[-n:] for own in parts}) == len({*parts}))
    return ["/".join(own[-depth:]).lstrip("/") + "/" for own in parts]


def _encode(names: Sequence[str], source: Path) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return the class names in code order and the class code of each row."""
    names = spell_classes(names)
    present = set(names)
    if len(present) < 2:
        raise InputError(
            f"{source}: received pictures of {_count(len(present), 'class')}; expected at least two classes"
        )
    ordered = in_code_order(present)
    codes = {name: code for code, name in enumerate(ordered)}
    return ordered, np.array([codes[name] for name in names], dtype=np.int64)


def _pictures_below(folders: Iterable[Path]) -> tuple[list[Path], list[Path], list[Path]]:
    """Return all pictures in the given folders and their subfolders, other files, and unusable links."""
    found = [_files_below(folder) for folder in folders]
    files = [path for inner, _ in found for path in inner]
    pictures = [path for path in files if _is_picture(path)]
    others = [path for path in files if not _is_picture(path)]
    return pictures, others, [link for _, links in found for link in links]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def _files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return all files below a folder in path order, and broken or redundant links.

    Links to folders are followed last to ensure that a folder is listed under its own name.
    """
    files, nowhere, links = list[Path](), list[Path](), [folder]
    root = folder.resolve()
    seen: set[Path] = set()
    for link in links:  # Links are appended during the loop.
        target = link.resolve()
        if link != folder and (target in seen or root.is_relative_to(target)):
            nowhere.append(link)
            continue
        for name, inner, names in os.walk(link, onerror=_refuse):
            place = Path(name)
            seen.add(place.resolve())
            shown_inner = sorted(name for name in inner if not name.startswith("."))
            links += [place / name for name in shown_inner if (place / name).is_symlink()]
            inner[:] = [name for name in shown_inner if (place / name).resolve() not in seen]
            for file in (place / name for name in names if not name.startswith(".")):
                lost = not _is_picture(file) and not file.exists()  # Opening a broken link fails.
                (nowhere if lost else files).append(file)
    return sorted(files, key=lambda path: path.parts), nowhere


def _refuse(error: OSError) -> None:
    raise InputError(
        f"{error.filename} cannot be read ({(error.strerror or '').lower()}); expected a readable "
        "folder, so change its permissions or move it away"
    )


def _unique_names(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Return pictures by name; files with identical contents count once."""
    by_name: dict[str, Path] = {}
    for name, path in named:
        first = by_name.setdefault(name, path)
        if first is not path and not _same_content(first, path):
            raise InputError(
                f"{first} and {path} have the same name but are different pictures; expected one per "
                "image_id, so move one of them away"
            )
    return by_name


def _same_content(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and read_file(one) == read_file(other)


def _count(number: int, what: str) -> str:
    plural = "classes" if what == "class" else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def listed(paths: Sequence[Path]) -> str:
    """List the first few paths and the number of remaining paths."""
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return ", ".join(str(path) for path in paths[:_NAMED]) + more
