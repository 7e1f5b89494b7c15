"""Lesion descriptors: image features that are invariant to rotation and mirroring.

They follow the ABCD rule of dermoscopy (Stolz et al. 1994, *European Journal of Dermatology* 4, 521-527):
asymmetry, border, color, and differential structure, as far as a few hundred pixels allow. A feature depends
only on its own image; nothing is learned. The features of a square image are invariant to the 8 symmetries of
the square, and those of an oblong image to the 4 of the rectangle, up to the rounding of sums.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.features.color import color_features
from skinmnist.features.image_ops import Features, Images, Shape
from skinmnist.features.lesion import lesion_features, symmetry_features
from skinmnist.features.texture import detail_features, texture_features

#: Pixels per batch, so that the data stay in the processor's cache.
CHUNK_PIXELS = 100_000


def extract_features(rows: npt.NDArray[np.generic], shape: Shape) -> npt.NDArray[np.float32]:
    """Extract features that are invariant to rotation and mirroring.

    Parameters
    ----------
    rows : ndarray of shape (n, height * width * channels), uint8
        Row-major height, width, channel.
    shape : tuple of int
        ``(height, width, channels)``; at least 8 pixels per side, grey or color.

    Returns
    -------
    ndarray of shape (n, features), float32
        Columns are named by `feature_names`. Memory beyond the result does not grow with n.

    Raises
    ------
    InputError
        If rows have another length or type, or images are too small or have neither 1 nor 3 channels.
    """
    rows = _checked(rows, shape)
    features = np.empty((len(rows), len(feature_names(shape))), dtype=np.float32)
    step = max(1, CHUNK_PIXELS // (shape[0] * shape[1]))
    for start in range(0, len(rows), step):
        chunk = Images.of(rows[start : start + step], shape)
        np.stack([values for _, values in _features(chunk)], axis=1, out=features[start : start + step])
    return features


def feature_names(shape: Shape) -> list[str]:
    """Return the column names of `extract_features` for images of a given shape."""
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
