"""Detail: spots of several sizes, and how steep colours are at each distance from the centre."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from skinmnist.features.color import quantiles
from skinmnist.features.image_ops import (
    LEAST,
    Floats,
    Numbers,
    Pictures,
    Shape,
    flat,
    overlapping_rings,
    places,
)

#: Standard deviations of the blurs between which spots are looked for, in pixels; 0 is the picture itself.
BLURS = (0.0, 0.8, 1.6, 3.2)
SPOT_LEVELS = (0.02, 0.1, 0.25, 0.75, 0.9, 0.98)
RINGS = 5


def detail_features(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    """Yield name and values of every number about detail."""
    for name, plane in pictures.contrasts.items():
        yield from _spots(name, plane)
        yield from _slopes(name, plane, pictures.shape)


def _spots(name: str, plane: Floats) -> Iterator[tuple[str, Numbers]]:
    """Yield quantiles of differences of Gaussian blurs: dots and globules stand out in one of them."""
    finer = plane
    for number, deviation in enumerate(BLURS[1:]):
        coarser = blur(plane, deviation)
        for level, values in zip(SPOT_LEVELS, quantiles(flat(finer - coarser), SPOT_LEVELS), strict=True):
            yield f"{name}, spots of size {number}, quantile {level}", values
        finer = coarser


def blur(plane: Floats, deviation: float) -> Floats:
    """Blur pictures with a Gaussian, reflected at the border."""
    down, across = (_blur_matrix(length, deviation) for length in plane.shape[1:])
    return down @ plane @ across.T


@lru_cache(maxsize=16)
def _blur_matrix(length: int, deviation: float) -> Floats:
    """Weights with which each place takes its neighbours, shape (length, length), rows summing to 1."""
    place = np.arange(length)
    images = np.concatenate([-1 - place[::-1], place, 2 * length - 1 - place[::-1]])
    weights = np.exp(-0.5 * ((place[:, None] - images) / deviation) ** 2)
    left, middle, right = np.split(weights, 3, axis=1)
    folded = left[:, ::-1] + middle + right[:, ::-1]
    return (folded / folded.sum(axis=1, keepdims=True)).astype(np.float32)


def _slopes(name: str, plane: Floats, shape: Shape) -> Iterator[tuple[str, Numbers]]:
    """Yield the mean slope in rings: along any direction, away from the centre, and the latter's size."""
    y, x = (place.astype(np.float32) for place in places(shape))
    distance = np.maximum(np.hypot(y[1:-1, None], x[1:-1]), LEAST)
    down = plane[:, 2:, 1:-1] - plane[:, :-2, 1:-1]
    across = plane[:, 1:-1, 2:] - plane[:, 1:-1, :-2]
    outward = down * (y[1:-1, None] / distance) + across * (x[1:-1] / distance)
    weights = overlapping_rings((shape[0] - 2, shape[1] - 2, shape[2]), RINGS)
    kinds = {
        "slope": np.sqrt(down * down + across * across),
        "slope outwards": outward,
        "size of the slope outwards": np.abs(outward),
    }
    for kind, values in kinds.items():
        means = flat(values) @ weights
        for ring in range(RINGS):
            yield f"{name}, {kind} in ring {ring}", means[:, ring]
