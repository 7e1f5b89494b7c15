"""What the header of a pixel table says: the picture's size and channels, and where the label stands."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from skinmnist.datasets.classes_file import about_file
from skinmnist.errors import InputError
from skinmnist.text import shown

LABEL = "label"


@dataclass(frozen=True)
class Layout:
    """The columns of a pixel table.

    Attributes
    ----------
    columns : tuple of str
        Names in file order.
    label_first : bool
        Whether the label stands before the pixels; else it stands behind them.
    """

    columns: tuple[str, ...]
    label_first: bool


def parse_header(line: str, path: Path, shape: tuple[int, int, int] | None = None) -> Layout:
    """Read the header of a pixel table.

    Pixel columns are named ``pixel0000``, ``pixel0001``, ... or ``pixel0``, ``pixel1``, ... or ``pixel1``,
    ``pixel2``, ... and stand in order; ``label`` stands before or behind them.

    Parameters
    ----------
    line : str
        The first line without its end.
    path : Path
        The file, for errors.
    shape : tuple of int, optional
        ``(height, width, channels)``, where that is known.

    Raises
    ------
    InputError
        Where a column is missing, doubled, unknown or out of order, or where the pixels make no picture.
    """
    columns = tuple(line.split(","))
    doubled = next((name for name, count in Counter(columns).items() if count > 1), None)
    if doubled is not None:
        positions = [str(position) for position, name in enumerate(columns, 1) if name == doubled]
        raise InputError(
            f"{path}, header (line 1): the column {shown(doubled)} stands {len(positions)} times, as columns "
            f"{', '.join(positions[:5])}; expected every column once, so drop or rename the copies"
        )
    if LABEL not in columns:
        raise InputError(
            f"{path}, header (line 1): none of the {len(columns)} columns is {LABEL!r} (the first is "
            f"{shown(columns[0])}); expected pixel columns and {LABEL!r}, with commas between and no "
            f"quotes, so mend the header"
        )
    position = columns.index(LABEL)
    if position not in (0, len(columns) - 1):
        raise InputError(
            f"{path}, header (line 1): {LABEL!r} is column {position + 1} of {len(columns)}; expected it "
            f"before or behind all pixels, so move it there"
        )
    label_first = position == 0
    pixels = columns[1:] if label_first else columns[:-1]
    _check_names(pixels, 2 if label_first else 1, path)
    picture_shape(len(pixels), path, shape)
    return Layout(columns, label_first)


def picture_shape(
    n_pixels: int, path: Path, shape: tuple[int, int, int] | None = None
) -> tuple[int, int, int]:
    """Return the shape of the pictures: the one that is known, else that of the square with so many values.

    No number of columns fits both a square in RGB and one in grey.

    Parameters
    ----------
    n_pixels : int
        Pixel columns of the table.
    path : Path
        The file, for the error.
    shape : tuple of int, optional
        ``(height, width, channels)``, where that is known.

    Returns
    -------
    tuple of int
        ``(height, width, channels)``.

    Raises
    ------
    InputError
        Where the number is not that of the shape; else where it is neither side * side * 3 (RGB) nor
        side * side (grey).
    """
    if shape is not None:
        height, width, channels = shape
        if height * width * channels != n_pixels:
            raise InputError(
                f"{path}, header (line 1): {n_pixels} pixel columns where {about_file(path).name} says "
                f"{height} x {width} x {channels}; expected {height * width * channels}, so mend that file, "
                "or move it away if it is of another table"
            )
        return shape
    for channels in (3, 1):
        side = math.isqrt(n_pixels // channels)
        if side and side * side * channels == n_pixels:
            return side, side, channels
    raise InputError(
        f"{path}, header (line 1): {n_pixels} pixel columns make no square picture; expected side x side x 3 "
        f"(RGB) or side x side (grey), such as 2352 or 784 for 28 x 28, so add the columns that are missing"
    )


def _check_names(pixels: tuple[str, ...], first_position: int, path: Path) -> None:
    """Check that the pixel columns are numbered in order, in the way in which the first one is."""
    first = re.fullmatch("pixel(0*[01])", pixels[0]) if pixels else None
    # Padded numbers count from 0: from pixel0001 on, the first column has been dropped.
    start, width = (int(first[1] == "1"), len(first[1])) if first else (0, 1)
    for index, received in enumerate(pixels):
        expected = f"pixel{start + index:0{width}d}"
        if received != expected:
            raise InputError(
                f"{path}, header (line 1): column {first_position + index} is {shown(received)} where "
                f"{expected!r} was expected; write the pixel columns in order, without gaps, and no other "
                f"column but {LABEL!r}"
            )
