"""Extract lesion descriptors, which are image features invariant to rotation and mirroring.

The features follow the ABCD rule of dermoscopy (Stolz et al. 1994, *European Journal of Dermatology* 4,
521-527): asymmetry, border, color, and differential structure, as far as these can be measured on a few
hundred pixels. The features of an image do not depend on other images. For a square image, they are invariant
to the 8 symmetries of the square; for a rectangular image, to the 4 symmetries of the rectangle, up to
rounding errors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.features.descriptors import (
    color_features,
    detail_features,
    lesion_features,
    symmetry_features,
    texture_features,
)
from skinmnist.features.image_ops import Features, Images, Shape

#: Number of pixels per batch; small enough for the data to fit in the processor's cache.
CHUNK_PIXELS = 100_000


def extract_features(rows: npt.NDArray[np.generic], shape: Shape) -> npt.NDArray[np.float32]:
    """Extract features that are invariant to rotation and mirroring.

    Parameters
    ----------
    rows : ndarray of shape (n, height * width * channels), uint8
        Pixels in row-major order: height, width, channel.
    shape : tuple of int
        ``(height, width, channels)``; at least 8 pixels per side, grey or color.

    Returns
    -------
    ndarray of shape (n, features), float32
        Features, with the column names given by `feature_names`. Memory use beyond the result is independent
        of n.

    Raises
    ------
    InputError
        If the rows have the wrong length or type, or if the images are too small or do not have 1 or 3
        channels.
    """
    rows = _checked(rows, shape)
    features = np.empty((len(rows), len(feature_names(shape))), dtype=np.float32)
    step = max(1, CHUNK_PIXELS // (shape[0] * shape[1]))
    for start in range(0, len(rows), step):
        chunk = Images.of(rows[start : start + step], shape)
        np.stack([values for _, values in _features(chunk)], axis=1, out=features[start : start + step])
    return features


def feature_names(shape: Shape) -> list[str]:
    """Return the column names of `extract_features` for images of the given shape."""
    black = np.zeros((1, shape[0] * shape[1] * shape[2]), dtype=np.uint8)
    return [name for name, _ in _features(Images.of(_checked(black, shape), shape))]


def _features(images: Images) -> Features:
    small = images.reduced()
    yield from color_features(small)
    yield from symmetry_features(small)
    yield from lesion_features(small)
    yield from detail_features(small)
    yield from texture_features(images)


def _checked(rows: npt.NDArray[np.generic], shape: Shape) -> npt.NDArray[np.uint8]:
    height, width, channels = shape
    if min(height, width) < 8 or channels not in (1, 3):
        raise InputError(
            f"expected images of at least 8 x 8 pixels and 1 or 3 channels, received {height} x {width} x "
            f"{channels}; scale or convert them, or choose a model that works on pixels"
        )
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] != height * width * channels or rows.dtype != np.uint8:
        raise InputError(
            f"expected rows of shape (n, {height * width * channels}) and type uint8, received rows of shape "
            f"{rows.shape} and type {rows.dtype}; pass unscaled pixels"
        )
    return rows.astype(np.uint8, copy=False)
