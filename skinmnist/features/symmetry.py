"""Asymmetry, and the coarse pattern of a picture in numbers that no symmetry of it changes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from skinmnist.features.image_ops import Floats, Numbers, Pictures

#: Cosine waves along each axis that describe the coarse pattern.
WAVES = 5


def symmetry_features(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    """Yield name and values of every number about symmetry and coarse pattern."""
    for name, plane in pictures.contrasts.items():
        yield from _asymmetry(name, plane, pictures.square)
        yield from _waves(name, plane)


def _asymmetry(name: str, plane: Floats, square: bool) -> Iterator[tuple[str, Numbers]]:
    """Yield mean absolute differences between a picture and its mirror images.

    Which mirror image is which changes with the view; the smaller and the larger of a pair does not.
    """
    pairs = {"sides": (plane[:, :, ::-1], plane[:, ::-1])}
    if square:
        turned = plane.transpose(0, 2, 1)
        pairs["diagonals"] = (turned, turned[:, ::-1, ::-1])
    for pair, mirrored in pairs.items():
        first, second = (np.abs(plane - other).mean(axis=(1, 2)) for other in mirrored)
        yield f"{name}, asymmetry about {pair}, smaller", np.minimum(first, second)
        yield f"{name}, asymmetry about {pair}, larger", np.maximum(first, second)
    yield f"{name}, asymmetry under half a turn", np.abs(plane - plane[:, ::-1, ::-1]).mean(axis=(1, 2))


def _waves(name: str, plane: Floats) -> Iterator[tuple[str, Numbers]]:
    """Yield the picture's cosine waves as sizes, the pair of one wave and its turned twin in order of size.

    Mirroring changes the sign of a wave with an odd number of half periods, turning swaps rows and columns.
    """
    found = wave_sizes(plane)
    for i in range(WAVES):
        for j in range(i, WAVES):
            if i == j == 0:
                continue
            first, second = found[:, i, j], found[:, j, i]
            if i % 2 == 0 and j % 2 == 0:
                yield f"{name}, waves {i} and {j}, sum", first + second
                if i != j:
                    yield f"{name}, waves {i} and {j}, difference", np.abs(first - second)
                continue
            first, second = np.abs(first), np.abs(second)
            yield f"{name}, waves {i} and {j}, larger", np.maximum(first, second)
            if i != j:
                yield f"{name}, waves {i} and {j}, smaller", np.minimum(first, second)


def wave_sizes(plane: Floats, waves: int = WAVES) -> Floats:
    """Return the leading coefficients of the cosine transform of pictures, shape (n, waves, waves)."""
    height, width = plane.shape[1:]
    centred = plane - plane.mean(axis=(1, 2), keepdims=True)
    return _cosines(height, waves).T @ centred @ _cosines(width, waves)


@lru_cache(maxsize=16)
def _cosines(length: int, waves: int) -> Floats:
    """Orthogonal cosine waves, shape (length, waves), of unit mean square after division by the length."""
    places = (np.arange(length) + 0.5) / length
    table = np.cos(np.pi * places[:, None] * np.arange(waves)) * np.where(np.arange(waves) > 0, np.sqrt(2), 1)
    return (table / length).astype(np.float32)
