"""Read MedMNIST files, which contain pictures, labels and the official split in one ``.npz``.

The names of data sets and classes follow MedMNIST's label dictionary (Yang et al., "MedMNIST v2 - A
large-scale lightweight benchmark for 2D and 3D biomedical image classification", Scientific Data 10, 41,
2023; the package medmnist 3.0). Archives are read one member at a time to keep only one copy in memory.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.cache import Arrays, parse_once
from skinmnist.datasets.classes_file import stated_classes, stated_shape
from skinmnist.datasets.decoding import MOST_MEMBERS
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.text import one_line, printable, shown

#: The splits of a data set, in the order of the table's rows.
PARTS = ("train", "val", "test")
#: Maximum size of the pictures in a file, in bytes; the largest data set at 28 x 28 takes 0.25 GB.
MOST_BYTES = 2**33
#: Maximum compression ratio of pictures, and the uncompressed size in bytes from which it is checked.
MOST_SHRUNK, SMALL_BYTES = 200, 2**27
#: Maximum side length of a picture in pixels.
MOST_SIDE = 256
_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
#: Class names of MedMNIST's single-label 2-D data sets, in code order. DermaMNIST uses the abbreviations of
#: HAM10000.
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "pathmnist": (
        "adipose",
        "background",
        "debris",
        "lymphocytes",
        "mucus",
        "smooth muscle",
        "normal colon mucosa",
        "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ),
    "dermamnist": ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("0", "1", "2", "3", "4"),
    "breastmnist": ("malignant", "normal, benign"),
    "bloodmnist": (
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocytes",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
    "tissuemnist": (
        "Collecting Duct, Connecting Tubule",
        "Distal Convoluted Tubule",
        "Glomerular endothelial cells",
        "Interstitial endothelial cells",
        "Leukocytes",
        "Podocytes",
        "Proximal Tubule Segments",
        "Thick Ascending Limb",
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}
MULTI_LABEL = ("chestmnist",)
_ARRAYS = ("pixels", "labels", "shape", "counts")


class _Header(NamedTuple):
    """Shape and type of an array that has not been read yet."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def is_medmnist(path: Path) -> bool:
    """Return whether a file has the extension of MedMNIST files."""
    return path.suffix.lower() == ".npz"


def set_name(path: str | os.PathLike[str]) -> str:
    """Return the data set named by a file name, such as ``dermamnist`` for ``dermamnist_64.npz``."""
    return re.sub(r"_[0-9]+$", "", Path(path).stem.lower())


def load_medmnist(
    path: str | os.PathLike[str], *, classes: Sequence[str] | None = None, size: Sequence[int] | None = None
) -> PixelTable:
    """Load a 2-D MedMNIST data set, such as ``dermamnist.npz`` or ``bloodmnist_64.npz``.

    Parameters
    ----------
    path : str or path-like
        An ``.npz`` file with ``train_images``, ``train_labels`` and the same for ``val`` and ``test``. Images
        are uint8 arrays of shape ``(n, side, side)`` or ``(n, side, side, 3)``; labels are integer arrays of
        shape ``(n, 1)`` or ``(n,)``.
    classes : sequence of str, optional
        Class names in code order. By default, MedMNIST's class names are used if the file is named after one
        of its data sets.
    size : (height, width) or (height, width, channels), optional
        Must match the size stored in the file.

    Returns
    -------
    PixelTable
        The rows of the train, val and test splits, in this order. `PixelTable.parts` gives the split of each
        row.

    Raises
    ------
    InputError
        If the file is invalid, or contains volumes or several labels per picture.
    """
    path = Path(path)
    arrays, sha256 = parse_once(path, "medmnist-1", _ARRAYS, partial(_parse, path=path), _is_table)
    labels = np.array(arrays["labels"])
    height, width, channels = map(int, arrays["shape"])
    stated = None if size is None else stated_shape(size)
    if stated not in (None, (height, width, 0), (height, width, channels)):
        raise InputError(
            f"received the size {' x '.join(map(str, filter(None, stated)))}, but {path} holds pictures of "
            f"{height} x {width} x {channels}; drop --size"
        )
    names, note = _name_classes(path, int(labels.max()) + 1, stated_classes(classes))
    counts = arrays["counts"].tolist()
    return PixelTable(
        pixels=arrays["pixels"],
        labels=labels,
        class_names=names,
        shape=(height, width, channels),
        image_ids=np.concatenate(
            [[f"{part}_{row:06d}" for row in range(n)] for part, n in zip(PARTS, counts, strict=True)]
        ),
        parts=np.repeat(PARTS, counts),
        name=printable(path.stem),
        origin=f"read from {printable(path.name)}",
        inputs=((printable(path.name), sha256),),
        notes=(printable(note),),
    )


def _name_classes(path: Path, n_classes: int, classes: tuple[str, ...] | None) -> tuple[tuple[str, ...], str]:
    """Return the class names and a note on their source."""
    own = CLASS_NAMES.get(set_name(path), ())
    if classes is not None:
        if len(classes) != n_classes:
            raise InputError(
                f"--classes names {len(classes)} classes, but {path} has {n_classes}; expected one name per "
                "class, so name them all in the order of their codes"
            )
        return classes, "class names come from --classes"
    if len(own) == n_classes:
        short = " (HAM10000's abbreviations)" if set(own) == set(facts.CLASS_NAMES) else ""
        return own, f"class names are MedMNIST's for {set_name(path)}{short}"
    names = tuple(f"class_{code}" for code in range(n_classes))
    why = (
        f"MedMNIST's {set_name(path)} has {len(own)}" if own else "the file is not named after a MedMNIST set"
    )
    return names, (
        f"class names are not known: {path.name} has {n_classes} classes and {why}; the classes are "
        f"called {names[0]} to {names[-1]}; name them with --classes and {n_classes} names in the order "
        "of the codes"
    )


def _parse(content: bytes, path: Path) -> Arrays:
    """Parse the contents of a file into `_ARRAYS`; raise InputError if they are invalid."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.namelist()) > MOST_MEMBERS:
                raise ValueError(f"it has more than {MOST_MEMBERS} members")
            return _read_parts(archive, path)
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"{path} holds more pictures than fit into memory; use a smaller size of the set"
        ) from None
    except Exception as error:
        # Damaged archives make zipfile and numpy raise many kinds of errors.
        words = one_line(error if type(error) is ValueError else f"{type(error).__name__}: {error}")
        raise InputError(
            f"{path} is not a complete .npz file ({printable(words, 150)}); expected one of MedMNIST's, so "
            "download it again"
        ) from None


def _read_parts(archive: zipfile.ZipFile, path: Path) -> Arrays:
    headers = {
        f"{part}_{what}": _header(archive, f"{part}_{what}", path)
        for part in PARTS
        for what in ("images", "labels")
    }
    shape = _picture_shape(headers, path)
    counts = [_count(headers, part, shape, path) for part in PARTS]
    needed = sum(counts) * (math.prod(shape) + np.dtype(np.int64).itemsize)
    packed = sum(member.compress_size for member in archive.infolist())
    if needed > max(MOST_SHRUNK * packed, SMALL_BYTES):
        raise ValueError(f"{packed:,} bytes claim to unpack to {needed:,}")
    if needed > MOST_BYTES:
        raise InputError(
            f"{path}: its pictures take {needed / 1e9:,.1f} GB; expected at most {MOST_BYTES / 1e9:,.1f} "
            "GB, so use a smaller size of the set"
        )
    pixels = np.empty((sum(counts), math.prod(shape)), dtype=np.uint8)
    labels = np.empty(len(pixels), dtype=np.int64)
    start = 0
    for part, count in zip(PARTS, counts, strict=True):
        rows = slice(start, start + count)
        _fill(archive, f"{part}_images", pixels[rows].reshape(-1))
        own = np.empty(count, dtype=headers[f"{part}_labels"].dtype)
        _fill(archive, f"{part}_labels", own)
        labels[rows] = own
        start += count
    _check_codes(labels, path)
    return {"pixels": pixels, "labels": labels, "shape": np.array(shape), "counts": np.array(counts)}


def _header(archive: zipfile.ZipFile, name: str, path: Path) -> _Header:
    """Read the header of an array without decompressing the data."""
    member = f"{name}.npy"
    if member not in archive.namelist():
        known = ", ".join(f"{part}_images, {part}_labels" for part in PARTS)
        raise InputError(f"{path} has no array {name}; expected {known}, as in MedMNIST's files")
    with archive.open(member) as stream:
        found = _read_header(stream)
        head = stream.tell()
    size = head + math.prod(found.shape) * found.dtype.itemsize
    if archive.getinfo(member).file_size != size:
        raise ValueError(f"{name} is not as long as its header says")
    return found


def _read_header(stream: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"an array has the unknown format {version}")
    shape, fortran, dtype = read[version](stream)
    if fortran and len(shape) > 1 and math.prod(shape) != max(shape):
        raise ValueError("an array is stored in column-major order")
    return _Header(shape, dtype)


def _picture_shape(headers: dict[str, _Header], path: Path) -> tuple[int, int, int]:
    """Return height, width and channels, which must be the same in all splits."""
    first = headers["train_images"]
    shape = first.shape[1:]
    if len(shape) == 4 or (len(shape) == 3 and shape[2] not in (1, 3)) or set_name(path).endswith("3d"):
        raise InputError(
            f"{path} holds volumes ({' x '.join(map(str, shape))}); expected one of MedMNIST's 2-D sets, "
            "such as dermamnist.npz"
        )
    for part in PARTS:
        images = headers[f"{part}_images"]
        if images.dtype != np.uint8 or images.shape[1:] != shape or len(shape) not in (2, 3):
            raise InputError(
                f"{path}: {part}_images is {shown(images.dtype.name)} of "
                f"{' x '.join(map(str, images.shape))}; expected uint8 of n x side x side, or n x side x "
                "side x 3, the same side in all parts"
            )
    height, width, channels = (*shape, 1)[:3]
    if not (1 <= height <= MOST_SIDE and 1 <= width <= MOST_SIDE):
        raise InputError(
            f"{path} holds pictures of {height} x {width}; expected sides of 1 to {MOST_SIDE} pixels, so "
            "use a smaller size of the set"
        )
    return height, width, channels


def _count(headers: dict[str, _Header], part: str, shape: tuple[int, ...], path: Path) -> int:
    """Return the number of pictures in a split after checking that each has exactly one label."""
    images, labels = headers[f"{part}_images"].shape, headers[f"{part}_labels"]
    if set_name(path) in MULTI_LABEL or (len(labels.shape) == 2 and labels.shape[1] > 1):
        raise InputError(
            f"{path} has several labels per picture; expected a set with one label per picture, such as "
            "dermamnist.npz; chestmnist.npz is not supported"
        )
    fits = labels.dtype.kind in "iu" and labels.shape in (images[:1], (*images[:1], 1))
    if not fits or not images[0]:
        raise InputError(
            f"{path}: {part}_labels is {shown(labels.dtype.name)} of {' x '.join(map(str, labels.shape))} "
            f"for {images[0]:,} pictures; expected whole numbers, one per picture, and at least one "
            "picture"
        )
    return images[0]


def _fill(archive: zipfile.ZipFile, name: str, target: npt.NDArray[Any]) -> None:
    """Read an array into the one-dimensional `target`, which has the same number of items."""
    with archive.open(f"{name}.npy") as stream:
        _read_header(stream)
        view, filled = target.view(np.uint8), 0
        while filled < len(view):
            block = stream.read(min(2**24, len(view) - filled))
            if not block:
                raise ValueError(f"{name} ends early")
            view[filled : filled + len(block)] = np.frombuffer(block, dtype=np.uint8)
            filled += len(block)
        if stream.read(1):  # This also verifies the member's checksum.
            raise ValueError(f"{name} has trailing data")


def _check_codes(labels: npt.NDArray[np.int64], path: Path) -> None:
    codes = np.unique(labels)
    if codes[0] != 0 or len(codes) < 2 or codes[-1] != len(codes) - 1:
        raise InputError(
            f"{path} has the labels {', '.join(map(str, codes[:12].tolist()))}; expected the codes 0 to k-1 "
            "of k classes, at least two, each on at least one picture"
        )


def _is_table(arrays: Arrays) -> bool:
    """Return whether cached arrays are a possible result of `_parse`."""
    pixels, labels, shape, counts = (arrays[name] for name in _ARRAYS)
    if (pixels.dtype, pixels.ndim, labels.dtype, labels.shape) != (np.uint8, 2, np.int64, pixels.shape[:1]):
        return False
    if not all(found.shape == (3,) and found.dtype == np.int64 for found in (shape, counts)):
        return False
    sound = (shape > 0).all() and (counts > 0).all() and counts.sum() == len(labels)
    if not sound or math.prod(shape.tolist()) != pixels.shape[1]:
        return False
    return bool(np.array_equal(np.unique(labels), np.arange(labels.max() + 1)))
