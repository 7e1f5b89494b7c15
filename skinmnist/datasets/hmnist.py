"""Find a pixel table, and load it with its metadata as a validated `PixelTable`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.cache import Arrays, parse_once
from skinmnist.datasets.classes_file import Stated, read_about, spell_classes, state
from skinmnist.datasets.csv_table import (
    COLLECTION_SHAPES,
    LABEL,
    check_codes,
    parse_header,
    parse_pieces,
    picture_shape,
    read_carefully,
    read_fast,
    split_ids,
)
from skinmnist.datasets.dialects import plain_table, unpacked
from skinmnist.datasets.files import as_path, decode, in_own_folder, table_stem, without_mark
from skinmnist.datasets.joining import join_metadata
from skinmnist.datasets.metadata import are_words, find_metadata, read_metadata
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.text import is_name, printable

#: Arrays stored for a parsed table; any but the first two is empty if the file lacks the information.
_ARRAYS = ("pixels", "labels", "image_ids", "named_shape", "label_names", "dialect")
#: File endings to search for; a table that was downloaded individually may still be compressed.
_ENDINGS = ("", ".gz", ".zip")


def find_table(path: str | os.PathLike[str] | None = None) -> Path | None:
    """Return `path` if given, otherwise the first table in `facts.TABLE_FILES` that exists.

    ``$SKINMNIST_DATA`` (a folder, or a table with any name) is searched before ``data/`` in the working
    directory. A table may be inside a folder of the same name and may be compressed. Grey tables are only
    used if no colour table is found.
    """
    if path is not None:
        return in_own_folder(Path(path))
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
    named_files = [
        facts.TABLE_FILES,
        [name for name in facts.COLLECTION_TABLES if name not in facts.TABLE_FILES],
    ]
    candidates = (
        in_own_folder(folder / f"{name}{ending}")
        for names in named_files
        for folder in folders
        for name in names
        for ending in _ENDINGS
    )
    return next((table for table in candidates if table.is_file()), None)


def load_hmnist(
    path: str | os.PathLike[str],
    metadata: str | os.PathLike[str] | Literal[False] | None = None,
    *,
    classes: Sequence[str] | None = None,
    size: Sequence[int] | None = None,
) -> PixelTable:
    """Load a pixel table, such as ``hmnist_28_28_RGB.csv``, together with its metadata.

    The picture size is inferred from the number of columns if only one size matches: side x side x 3 is RGB
    and side x side is grey. Otherwise, it is read from column names of the form
    ``pixel_<row>_<column>_<channel>``, from `size`, or from ``<table stem>_classes.json`` in the same folder,
    which `skinmnist.build` writes.

    Tables may be larger than memory. Byte order marks and Windows line endings are accepted. Other dialects
    are converted with a note if they are unambiguous (see `skinmnist.datasets.dialects`); quoted or signed
    numbers are rejected. Parsed arrays are stored in the cache folder (see `skinmnist.datasets.cache`), which
    reduces later loads to milliseconds.

    Parameters
    ----------
    path : str or path-like
        A CSV file in UTF-8. Pixel columns are named ``pixel0000``, ... or ``pixel0``, ... or ``pixel1``, ...
        in order, and contain integers from 0 to 255 in row-major order (height, width, channel). The column
        ``label`` comes before or after them and contains class names or the codes 0 to k - 1, each of which
        must occur. The column ``image_id`` is optional.
    metadata : str, path-like, False or None
        A CSV file with at least ``lesion_id``, ``image_id`` and ``dx``; ``age``, ``sex`` and ``localization``
        are read if present. Rows are joined by ``image_id`` if the table has that column; otherwise, row *i*
        describes row *i* of the table. Each ``dx`` must correspond to a single label. A picture without a
        ``lesion_id`` counts as a separate lesion; if all are missing, lesions are unknown. If None,
        ``<table stem>_metadata.csv`` or ``HAM10000_metadata.csv`` in the folder of the table is read, if
        present. If False, no metadata are read.
    classes : sequence of str, optional
        Class names in code order.
    size : (height, width) or (height, width, channels), optional
        Size of one picture.

    Returns
    -------
    PixelTable
        ``pixels`` is a read-only memory map if the cache is writable. ``class_names`` come from the first
        available source: `classes` or the JSON file; the diagnoses in the metadata; the names of HAM10000 if
        picture and class sizes match its tables; or ``class_0``, ``class_1``, ... ``notes`` gives the source.

    Raises
    ------
    InputError
        If the file is invalid. The message gives the file, row and column of the first error.

    See Also
    --------
    load_table : Load a table in any supported layout, selected by file extension.
    PixelTable.from_arrays : Create a table from arrays, pictures or a data frame.
    make_lesions : Generate a synthetic table.

    References
    ----------
    Tschandl, Rosendahl & Kittler, "The HAM10000 dataset, a large collection of multi-source dermatoscopic
    images of common pigmented skin lesions", Scientific Data 5, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skinmnist import load_hmnist
    >>> frame = pd.DataFrame(np.arange(4 * 192).reshape(4, 192) % 256).add_prefix("pixel")
    >>> frame.assign(label=[0, 1, 1, 0]).to_csv("moles.csv", index=False)
    >>> load_hmnist("moles.csv", classes=["nv", "mel"])
    <PixelTable moles: 4 pictures of 8 x 8 x 3, lesions unknown, 2 classes>
    """
    if isinstance(path, PixelTable):
        raise InputError("received a PixelTable, which is loaded already; use it as it is")
    table = in_own_folder(as_path(path, "the path of a CSV file; PixelTable.from_arrays takes arrays"))
    about = read_about(table)
    stated = state(table, about, classes, size)
    parse = partial(_parse, path=table, stated=stated)
    is_sound = partial(_is_table, path=table, stated=stated)
    parse_large = partial(parse_pieces, table, stated)
    arrays, sha256 = parse_once(table, "table-4", _ARRAYS, parse, is_sound, parse_large)
    pixels, labels = arrays["pixels"], np.array(arrays["labels"])
    image_ids = np.array(arrays["image_ids"]) if len(arrays["image_ids"]) else None
    shape = picture_shape(pixels.shape[1], table, stated, _named_shape(arrays))
    if len(arrays["label_names"]):
        stated, labels = _by_label_names(stated, labels, tuple(arrays["label_names"].tolist()), table)
    _check_count(stated, int(labels.max()) + 1, table)
    described = _metadata_file(table, metadata)
    joined = (
        None
        if described is None
        else join_metadata(read_metadata(described), table, labels, image_ids, stated)
    )
    names, notes = (joined.class_names, joined.notes) if joined else _name_classes(labels, stated, shape)
    sources = (joined.metadata if joined else None, about)
    return PixelTable(
        pixels=pixels,
        labels=labels,
        class_names=names,
        shape=shape,
        lesion_ids=joined.lesion_ids if joined else None,
        image_ids=joined.metadata.image_ids if joined else image_ids,
        clinical=joined.metadata.clinical or None if joined else None,
        sources=joined.metadata.sources if joined else {},
        name=printable(table_stem(table)),
        origin=f"read from {printable(table.name)}",
        inputs=(
            (printable(table.name), sha256),
            *((printable(source.path.name), source.sha256) for source in sources if source),
        ),
        notes=tuple(map(printable, (*(f"{table.name}: {note}" for note in arrays["dialect"]), *notes))),
    )


def _by_label_names(
    stated: Stated, labels: npt.NDArray[np.int64], names: tuple[str, ...], table: Path
) -> tuple[Stated, npt.NDArray[np.int64]]:
    """Return `stated` with class names, and label codes; stated names determine the order of the codes."""
    if stated.class_names is None:
        return replace(stated, class_names=names, names_by=f"the labels of {table.name}"), labels
    names = tuple(spell_classes(names, stated.class_names))
    if set(stated.class_names) != set(names):
        raise InputError(
            f"{stated.names_by} names {', '.join(stated.class_names)}, but the labels of {table} are "
            f"{', '.join(names)}; expected the same names, so correct {stated.names_by} or leave it out"
        )
    order = np.array([stated.class_names.index(name) for name in names])
    return stated, order[labels]


def _metadata_file(table: Path, metadata: str | os.PathLike[str] | Literal[False] | None) -> Path | None:
    if metadata is None:
        return find_metadata(table)
    return None if metadata is False else as_path(metadata, "the path of a CSV file, None or False")


def _check_count(stated: Stated, n_classes: int, table: Path) -> None:
    """Check that one name is stated per class."""
    names, by = stated.class_names, stated.names_by
    if names is None or len(names) == n_classes:
        return
    fix = "name them all in the order of their codes"
    if by != "--classes":
        by, fix = f"{table.with_name(by)}", "fix that file, or move it away if it belongs to another table"
    raise InputError(
        f"{by} names {len(names)} classes, but {table} has {n_classes}; expected one name per class, so {fix}"
    )


def _name_classes(
    labels: npt.NDArray[np.int64], stated: Stated, shape: tuple[int, int, int]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return class names for a table without metadata, and a note on their source."""
    if stated.class_names is not None:
        return stated.class_names, (f"class names come from {stated.names_by}",)
    counts = np.bincount(labels)
    if shape in COLLECTION_SHAPES and fits_collection(counts):
        return facts.CLASS_NAMES, (
            "class names are those of HAM10000: the picture size and the number of rows per class match its "
            "tables, and no other order of the codes does",
        )
    names = tuple(f"class_{code}" for code in range(len(counts)))
    return names, (
        f"class names are not known: there is no metadata and no classes file, and the class sizes do "
        f"not match HAM10000's; the classes are called {names[0]} to {names[-1]}, and none counts as "
        f"melanoma; name them with --classes and {len(names)} names in the order of the codes",
    )


def fits_collection(counts: npt.NDArray[np.int64]) -> bool:
    """Return whether the class sizes match those of HAM10000 in code order and in no other order.

    A few rows may be missing, but each class must be larger than the next smaller class of HAM10000: 1,099
    keratoses and 1,113 melanomas cannot be distinguished by size, and a wrong name is worse than no name.
    """
    true = np.array(facts.ROWS_PER_CLASS)
    if len(counts) != len(true):
        return False
    smaller = np.array([true[true < size].max(initial=0) for size in true])
    return bool(((counts <= true) & (counts > np.maximum(smaller, 0.9 * true))).all())


def _named_shape(arrays: Arrays) -> tuple[int, int, int] | None:
    """Return the picture shape implied by the column names, if any."""
    found = tuple(arrays["named_shape"].tolist())
    return (found[0], found[1], found[2]) if found else None


def _parse(content: bytes, path: Path, stated: Stated) -> Arrays:
    """Parse the contents of a pixel table into `_ARRAYS`; raise InputError if they are invalid."""
    text = without_mark(unpacked(content, path))
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if not text or text.isspace():
        raise InputError(f"{path} is empty; expected pixel columns, {LABEL!r} and rows, so fill it")
    header, _, body = text.partition(b"\n")
    if body and not body.endswith(b"\n"):
        body += b"\n"
    plain = plain_table(decode(header, path), body, path)
    layout, body = parse_header(plain.header, path, stated), plain.body
    if not body:
        raise InputError(f"{path} has a header but no rows; expected one row per picture, so add them")
    body, image_ids = split_ids(body, layout, path)
    cells = read_fast(body, layout)
    pixels, labels = read_carefully(body, layout, path) if cells is None else cells
    check_codes(labels, path)
    found = (
        pixels,
        labels,
        image_ids,
        np.array(layout.shape or (), dtype=np.int64),
        np.array(plain.class_names, dtype=np.str_),
        np.array(plain.notes, dtype=np.str_),
    )
    return dict(zip(_ARRAYS, found, strict=True))


def _is_table(arrays: Arrays, path: Path, stated: Stated) -> bool:
    """Return whether cached arrays are a possible result of `_parse`."""
    pixels, labels, ids, named, names, dialect = (arrays[name] for name in _ARRAYS)
    if (pixels.dtype, pixels.ndim, labels.dtype, labels.shape) != (np.uint8, 2, np.int64, pixels.shape[:1]):
        return False
    if len(ids) and not (ids.shape == labels.shape and are_words("image_id", ids) and (ids != "").all()):
        return False
    if len(named) and not (named.shape == (3,) and named.dtype == np.int64 and (named > 0).all()):
        return False
    if not all(words.ndim == 1 and words.dtype.kind == "U" for words in (names, dialect)):
        return False
    if len(names) and not (len(names) == labels.max() + 1 and all(map(is_name, names.tolist()))):
        return False
    if names.tolist() != spell_classes(names.tolist()):
        return False
    if not all(map(is_name, dialect.tolist())):
        return False
    try:
        shape = picture_shape(pixels.shape[1], path, stated, _named_shape(arrays))
        if pixels.shape[1] != math.prod(shape):
            return False
        check_codes(labels, path)
    except InputError:
        return False
    return len(labels) > 0
