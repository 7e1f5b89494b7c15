"""Numbers that describe a lesion and stay what they are when its picture is turned or mirrored.

They follow the ABCD rule of dermoscopy (Stolz et al. 1994, *European Journal of Dermatology* 4, 521-527):
asymmetry, border, colour, and differential structure, in the miniature that a few hundred pixels allow. Every
number depends on its own picture alone; nothing is learnt. A square picture keeps its numbers under the 8
symmetries of the square, an oblong one under the 4 of the rectangle, up to the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.features.color import color_features
from skinmnist.features.detail import detail_features
from skinmnist.features.image_ops import Numbers, Pictures, Shape
from skinmnist.features.lesion import lesion_features
from skinmnist.features.symmetry import symmetry_features
from skinmnist.features.texture import texture_features

#: Pixels that are looked at together: what is worked on stays in the processor's cache.
CHUNK_PIXELS = 100_000


def describe(rows: npt.NDArray[np.generic], shape: Shape) -> npt.NDArray[np.float32]:
    """Describe pictures by numbers that do not change when a picture is turned or mirrored.

    Parameters
    ----------
    rows : ndarray of shape (n, height * width * channels), uint8
        Row-major height, width, channel.
    shape : tuple of int
        ``(height, width, channels)``; at least 8 pixels a side, grey or colour.

    Returns
    -------
    ndarray of shape (n, numbers), float32
        Named by `descriptor_names`. Memory beyond it does not follow n.

    Raises
    ------
    InputError
        Where rows have another length or type, or pictures are too small or have neither 1 nor 3 channels.
    """
    rows = _checked(rows, shape)
    found = np.empty((len(rows), len(descriptor_names(shape))), dtype=np.float32)
    step = max(1, CHUNK_PIXELS // (shape[0] * shape[1]))
    for start in range(0, len(rows), step):
        chunk = Pictures.of(rows[start : start + step], shape)
        np.stack([values for _, values in _numbers(chunk)], axis=1, out=found[start : start + step])
    return found


def descriptor_names(shape: Shape) -> list[str]:
    """Name the columns of `describe` for pictures of a shape."""
    flat = np.zeros((1, shape[0] * shape[1] * shape[2]), dtype=np.uint8)
    return [name for name, _ in _numbers(Pictures.of(_checked(flat, shape), shape))]


def _numbers(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    small = pictures.reduced()
    yield from color_features(small)
    yield from symmetry_features(small)
    yield from lesion_features(small)
    yield from detail_features(small)
    yield from texture_features(pictures)


def _checked(rows: npt.NDArray[np.generic], shape: Shape) -> npt.NDArray[np.uint8]:
    height, width, channels = shape
    if min(height, width) < 8 or channels not in (1, 3):
        raise InputError(
            f"descriptors received pictures of {height} x {width} x {channels}; expected at least 8 x 8 "
            "pixels of 1 or 3 channels"
        )
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] != height * width * channels or rows.dtype != np.uint8:
        raise InputError(
            f"descriptors received rows of shape {rows.shape} and type {rows.dtype}; expected "
            f"(n, {height * width * channels}) of uint8, unscaled pixels"
        )
    return rows.astype(np.uint8, copy=False)
