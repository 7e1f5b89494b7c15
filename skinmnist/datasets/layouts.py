"""Common layouts of tables and metadata, with one reader per layout.

To add a layout, write a reader and add an entry to `LAYOUTS`. `load_table` selects the layout from the file
extension, and ``skinmnist list layouts`` lists it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from skinmnist.datasets.classes_file import (
    checked_names,
    in_code_order,
    note_spellings,
    spell_classes,
    stated_classes,
    stated_shape,
)
from skinmnist.datasets.files import hash_file, stat_file
from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.datasets.joining import find_lesions
from skinmnist.datasets.medmnist import MOST_SIDE, load_medmnist
from skinmnist.datasets.metadata import Metadata, read_cell, read_metadata
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.text import is_name, one_line, printable, shown

#: Maximum uncompressed size of the columns of a Parquet file, in bytes.
MOST_BYTES = 2**32
#: Number of pictures decoded per batch of a Parquet file.
_BATCH = 256


class Layout(NamedTuple):
    """A layout: its one-line description, its file extensions, and its reader.

    `read` accepts a path and, for tables, the keywords ``classes`` and ``size``. The layout for data frames
    is not read from a file. `is_table` is False for metadata that accompanies a table or a picture folder.
    """

    about: str
    endings: tuple[str, ...]
    read: Callable[..., Any]
    is_table: bool = True


def load_table(
    path: str | os.PathLike[str],
    metadata: str | os.PathLike[str] | Literal[False] | None = None,
    *,
    classes: Sequence[str] | None = None,
    size: Sequence[int] | None = None,
) -> PixelTable:
    """Load a table in one of the `LAYOUTS`, selected by its file extension; the default is a pixel CSV.

    Parameters
    ----------
    path : str or path-like
    metadata : str, path-like, False or None
        See `load_hmnist`. Files in the other layouts contain their own metadata.
    classes, size
        See `load_hmnist`.

    Raises
    ------
    InputError
        If the file is invalid. The message explains why.

    See Also
    --------
    load_hmnist : Load a pixel CSV with its metadata.
    PixelTable.from_arrays : Create a table from arrays, pictures or a data frame.

    Examples
    --------
    >>> import numpy as np
    >>> from skinmnist import load_table
    >>> arrays = {}
    >>> for part, n in (("train", 8), ("val", 2), ("test", 4)):
    ...     arrays[f"{part}_images"] = np.zeros((n, 28, 28), np.uint8)
    ...     arrays[f"{part}_labels"] = np.arange(n)[:, None] % 2
    >>> np.savez("breastmnist.npz", **arrays)
    >>> table = load_table("breastmnist.npz")
    >>> table
    <PixelTable breastmnist: 14 pictures of 28 x 28 x 1, lesions unknown, 2 classes>
    >>> table.class_names, table.parts[[0, 8, 10]].tolist()
    (('malignant', 'normal, benign'), ['train', 'val', 'test'])
    """
    if not isinstance(path, str | os.PathLike):
        return load_hmnist(path)  # Raises an error that lists the accepted types.
    for layout in LAYOUTS.values():
        alone = layout.is_table and layout.read is not load_hmnist  # Only CSV has separate metadata.
        if alone and Path(path).suffix.lower() in layout.endings:
            if metadata:
                raise InputError(
                    f"received metadata for {path}, a file that contains its own; drop "
                    "--metadata, or convert it to a CSV with skinmnist build first"
                )
            return layout.read(path, classes=classes, size=size)
    return load_hmnist(path, metadata, classes=classes, size=size)


def load_parquet(
    path: str | os.PathLike[str], *, classes: Sequence[str] | None = None, size: Sequence[int] | None = None
) -> PixelTable:
    """Load a Parquet file in the layout used by Hugging Face data sets.

    Parameters
    ----------
    path : str or path-like
        The column ``image`` contains encoded pictures, either as bytes or as structures with a ``bytes``
        field; ``label`` contains integers or names. ``image_id`` and ``lesion_id`` are read if present.
    classes : sequence of str, optional
        Class names in code order. By default, the names stored in the file are used.
    size : (height, width) or (height, width, channels), optional
        Size to which pictures are resized. Required if the pictures differ in size.

    Raises
    ------
    InputError
        If pyarrow is not installed, or the file is invalid.
    """
    path = Path(path)
    stat_file(path)
    file = _open_parquet(path)
    columns = file.schema_arrow.names
    missing = [name for name in ("image", "label") if columns.count(name) != 1]
    if missing:
        raise InputError(
            f"{path} has {columns.count(missing[0])} columns {missing[0]!r} among "
            f"{', '.join(map(shown, columns[:8])) or 'none'}; expected image and label, so rename the columns"
        )
    wanted = [name for name in ("image", "label", "image_id", "lesion_id") if name in columns]
    rows = _Rows(path, None if size is None else stated_shape(size))
    for batch in _batches(file, wanted, path):
        rows.add(batch)
    stated = stated_classes(classes) or _class_names(file, path)
    labels, names, note = _encode(rows.columns["label"], stated, path)
    known = {name: _words(rows.columns[name], name, path) for name in wanted[2:]}
    image_ids, lesion_ids = known.get("image_id"), known.get("lesion_id")
    sha256, notes = hash_file(path), [note, *note_spellings(map(str, rows.columns["label"]))]
    if lesion_ids is not None:
        numbers = np.arange(len(labels))
        pictures = image_ids if image_ids is not None else numbers.astype(str)
        described = Metadata(path, lesion_ids, pictures, np.array(names)[labels], {}, {}, sha256)
        lesion_ids, unknown = find_lesions(described, labels, numbers)
        notes += unknown
    return PixelTable(
        pixels=np.stack(rows.pixels),
        labels=labels,
        class_names=names,
        shape=rows.shape,
        lesion_ids=lesion_ids,
        image_ids=image_ids,
        name=printable(path.stem),
        origin=f"read from {printable(path.name)}",
        inputs=((printable(path.name), sha256),),
        notes=tuple(map(printable, notes)),
    )


def _open_parquet(path: Path) -> Any:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(
            f"{path} is a Parquet file, which requires pyarrow; install it: pip install 'skinmnist[parquet]'"
        ) from None
    try:
        file = ParquetFile(path)
        groups = range(file.metadata.num_row_groups)
        needed = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    except Exception as error:  # pyarrow raises both its own errors and system errors.
        raise _damaged(path, error) from None
    if needed > MOST_BYTES or not file.metadata.num_rows:
        raise InputError(
            f"{path} has {file.metadata.num_rows:,} rows of {needed:,} bytes; expected at least one row, and "
            f"at most {MOST_BYTES:,} bytes, so use a part of the table"
        )
    return file


def _damaged(path: Path, error: Exception) -> InputError:
    words = printable(one_line(f"{type(error).__name__}: {error}"), 150)
    return InputError(f"{path} is not a complete Parquet file ({words}); download it again")


def _batches(file: Any, columns: list[str], path: Path) -> Iterator[dict[str, list[Any]]]:
    batches = file.iter_batches(_BATCH, columns=columns)
    while True:
        try:
            batch = next(batches, None)
            found = None if batch is None else batch.to_pydict()
        except Exception as error:
            raise _damaged(path, error) from None
        if found is None:
            return
        yield found


class _Rows:
    """Rows read from a Parquet file."""

    def __init__(self, path: Path, given: tuple[int, int, int] | None) -> None:
        self.path, self.given = path, given
        height, width, channels = given or (0, 0, 0)
        self.shape = (height, width, channels or 3)
        self.pixels: list[Any] = []
        self.columns: dict[str, list[Any]] = {}

    def add(self, batch: dict[str, list[Any]]) -> None:
        """Add a batch of rows."""
        for name, values in batch.items():
            if name != "image":
                self.columns.setdefault(name, []).extend(values)
        self.pixels += [self._read(value) for value in batch["image"]]

    def _read(self, value: Any) -> Any:
        content = value.get("bytes") if isinstance(value, dict) else value
        where = f"{self.path}, row {len(self.columns['label']):,} or before, column 'image'"
        if not isinstance(content, bytes):
            raise InputError(
                f"{where}: received {shown(type(content).__name__)}; expected the bytes of a picture file, "
                "so store them with the pictures"
            )
        try:
            picture = open_picture(content)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if self.given is None:
            self._check_size(picture.height, picture.width)
        return picture_row(picture, self.shape)

    def _check_size(self, height: int, width: int) -> None:
        if not self.pixels and not self.shape[0]:
            self.shape = (height, width, 3)
        if self.shape[:2] != (height, width) or max(height, width) > MOST_SIDE:
            raise InputError(
                f"{self.path} holds pictures of {self.shape[0]} x {self.shape[1]} and {height} x {width}; "
                f"expected one size of at most {MOST_SIDE} x {MOST_SIDE}, so scale them with --size 28x28"
            )


def _class_names(file: Any, path: Path) -> tuple[str, ...] | None:
    """Return the class names stored in the metadata of a Hugging Face data set, if any."""
    try:
        stored = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])
        names = stored["info"]["features"]["label"]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    named = isinstance(names, list) and all(isinstance(name, str) and is_name(name) for name in names)
    return checked_names(names, str(path)) if named else None


def _encode(labels: list[Any], names: tuple[str, ...] | None, path: Path) -> tuple[Any, tuple[str, ...], str]:
    """Return the code of each row, the class names, and a note on the source of the names."""
    if all(isinstance(label, str) and is_name(label) for label in labels):
        words = spell_classes(labels, names or ())
        known = names or in_code_order(set(words))
        if len(known) < 2:
            raise InputError(f"{path}: all labels are {shown(known[0])}; expected at least two classes")
        if set(known) != set(words):
            raise InputError(
                f"{path} has the labels {', '.join(sorted(set(words))[:12])}, but the classes are named "
                f"{', '.join(known)}; expected the same names, so correct --classes or leave it out"
            )
        return np.array([known.index(word) for word in words]), known, "class names come from the labels"
    whole = all(isinstance(label, int) and not isinstance(label, bool) for label in labels)
    codes = sorted(set(labels)) if whole else []
    if not whole or codes != list(range(len(codes))) or len(codes) < 2:
        raise InputError(
            f"{path}, column 'label': received "
            f"{', '.join(map(shown, map(str, codes[:8]))) or 'mixed values'}; expected names, or the codes "
            "0 to k-1 of k classes, at least two, each on at least one row"
        )
    if names is None:
        unnamed = tuple(f"class_{code}" for code in codes)
        return np.array(labels), unnamed, "class names are not known; name them with --classes"
    if len(names) != len(codes):
        raise InputError(
            f"{path} has {len(codes)} classes but {len(names)} class names; expected one name per class, "
            "so name them with --classes in the order of their codes"
        )
    return np.array(labels), names, f"class names come from {path.name} or --classes"


def _words(values: list[Any], name: str, path: Path) -> Any:
    """Return a column of ids, read by the rules for cells of metadata files."""
    cells = ["" if value is None or value != value else str(value) for value in values]  # NaN is not itself.
    return np.array([read_cell(name, cell, f"{path}, row {row}") for row, cell in enumerate(cells)])


#: Layouts by name. The first five are files, selected by their extension.
LAYOUTS = {
    "pixel-csv": Layout(
        "one row of pixels per picture, with its label, like the Kaggle tables", (".csv",), load_hmnist
    ),
    "medmnist": Layout("a 2-D MedMNIST set with its own train, val and test", (".npz",), load_medmnist),
    "parquet": Layout(
        "pictures (image) and classes (label), like Hugging Face data sets; needs skinmnist[parquet]",
        (".parquet",),
        load_parquet,
    ),
    "isic-truth": Layout(
        "metadata: the ground truth of ISIC 2018 and 2019, one column of 0 and 1 per class",
        (".csv",),
        read_metadata,
        is_table=False,
    ),
    "dataverse": Layout(
        "metadata: HAM10000's own from the Harvard Dataverse, with the column dataset",
        (".tab", ".csv", ""),
        read_metadata,
        is_table=False,
    ),
    "data-frame": Layout(
        "in Python: PixelTable.from_arrays(frame, y='label'), pixels in the other columns",
        (),
        PixelTable.from_arrays,
    ),
}
