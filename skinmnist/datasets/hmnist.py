"""Finding and loading a pixel table: from CSV and metadata to a checked `PixelTable`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.cache import Arrays, parse_once
from skinmnist.datasets.classes_file import About, read_about
from skinmnist.datasets.csv_table import (
    LABEL,
    check_codes,
    parse_header,
    parse_pieces,
    picture_shape,
    read_carefully,
    read_fast,
)
from skinmnist.datasets.files import decode, without_mark
from skinmnist.datasets.metadata import find_metadata, match_classes, read_metadata
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError


def find_table(path: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the pixel table to work on: `path` as given, else the first of `facts.TABLE_FILES` found.

    ``$SKINMNIST_DATA`` (a folder, or a table of any name) comes before ``data/`` of the working directory.
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


def load_hmnist(
    path: str | os.PathLike[str], metadata: str | os.PathLike[str] | Literal[False] | None = None
) -> PixelTable:
    """Load a pixel table such as ``hmnist_28_28_RGB.csv``, with the lesions behind its pictures.

    Size, channels and classes follow from the file: side x side x 3 pixel columns are RGB, side x side are
    grey. Where ``<table stem>_classes.json`` stands beside it, as `skinmnist.build` writes it, it gives
    the names of the classes and the shape of the pictures.

    A table may be larger than memory. A byte order mark and Windows line ends are accepted; quoted, signed or
    decimal numbers are not. Parsed arrays are stored in the cache folder (see `skinmnist.datasets.cache`), so
    the next load takes milliseconds.

    Parameters
    ----------
    path : str or path-like
        A CSV in UTF-8: pixel columns ``pixel0000``, ... or ``pixel0``, ... or ``pixel1``, ... in order,
        whole numbers 0-255, row-major height, width, channel; and the column ``label`` before or after
        them, with the codes 0..k-1, each on at least one row.
    metadata : str, path-like, False or None
        A CSV whose row *i* describes row *i* of the table, with at least ``lesion_id``, ``image_id`` and
        ``dx``; ``age``, ``sex`` and ``localization`` are read where present. It is joined only after
        every ``dx`` was found to agree with the label. Where every ``lesion_id`` is empty, the lesions are
        unknown. None: ``<table stem>_metadata.csv``, else ``HAM10000_metadata.csv`` beside the table, if
        there is one. False: read none; the lesions are unknown.

    Returns
    -------
    PixelTable
        ``pixels`` is a read-only memory map of the cache where the cache could be written. ``class_names``
        are those that stand beside the table; else those of HAM10000 for seven classes; else the diagnoses
        of the metadata; else ``class_0``, ``class_1``, ...

    Raises
    ------
    InputError
        One sentence that names the file, row and column of the first fault.
    """
    table = Path(path)
    about = read_about(table)
    shape = about.shape if about else None
    parse = partial(_parse, path=table, shape=shape)
    is_sound = partial(_is_table, path=table, shape=shape)
    parse_large = partial(parse_pieces, table, shape)
    arrays, sha256 = parse_once(table, "table-1", ("pixels", "labels"), parse, is_sound, parse_large)
    pixels, labels = arrays["pixels"], np.array(arrays["labels"])
    names = _class_names(int(labels.max()) + 1, about, table)
    described = _metadata_file(table, metadata)
    joined = None if described is None else read_metadata(described)
    inputs = [
        (table.name, sha256),
        *((source.path.name, source.sha256) for source in (joined, about) if source),
    ]
    return PixelTable(
        pixels=pixels,
        labels=labels,
        class_names=match_classes(joined, labels, table, names) if joined else names or _numbered(labels),
        shape=picture_shape(pixels.shape[1], table, shape),
        lesion_ids=joined.lesion_ids if joined else None,
        image_ids=joined.image_ids if joined else None,
        clinical=joined.clinical or None if joined else None,
        name=table.stem,
        origin=f"read from {table.name}",
        inputs=tuple(inputs),
    )


def _metadata_file(table: Path, metadata: str | os.PathLike[str] | Literal[False] | None) -> Path | None:
    if metadata is None:
        return find_metadata(table)
    return None if metadata is False else Path(metadata)


def _class_names(n_classes: int, about: About | None, table: Path) -> tuple[str, ...] | None:
    """Return the names that are known without any metadata, or None."""
    if about is None:
        return facts.CLASS_NAMES if n_classes == len(facts.CLASS_NAMES) else None
    if len(about.class_names) != n_classes:
        raise InputError(
            f"{about.path} names {len(about.class_names)} classes where {table} has {n_classes}; expected a "
            "name for each, so fix that file, or move it away if it is of another table"
        )
    return about.class_names


def _numbered(labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(f"class_{code}" for code in range(int(labels.max()) + 1))


def _parse(content: bytes, path: Path, shape: tuple[int, int, int] | None) -> Arrays:
    """Turn the content of a pixel table into ``pixels`` and ``labels``; every fault is an `InputError`."""
    text = without_mark(content)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if not text or text.isspace():
        raise InputError(f"{path} is empty; expected pixel columns, {LABEL!r} and rows, so fill it")
    header, _, body = text.partition(b"\n")
    layout = parse_header(decode(header, path), path, shape)
    if not body:
        raise InputError(f"{path} has a header and no rows; expected one row for each picture, so add them")
    if not body.endswith(b"\n"):
        body += b"\n"
    cells = read_fast(body, layout)
    pixels, labels = read_carefully(body, layout, path) if cells is None else cells
    check_codes(labels, path)
    return {"pixels": pixels, "labels": labels}


def _is_table(arrays: Arrays, path: Path, shape: tuple[int, int, int] | None) -> bool:
    """Return whether arrays are ``pixels`` and ``labels`` as `_parse` returns them."""
    pixels, labels = arrays["pixels"], arrays["labels"]
    if (pixels.dtype, pixels.ndim, labels.dtype, labels.shape) != (np.uint8, 2, np.int64, pixels.shape[:1]):
        return False
    try:
        picture_shape(pixels.shape[1], path, shape)
        check_codes(labels, path)
    except InputError:
        return False
    return len(labels) > 0
