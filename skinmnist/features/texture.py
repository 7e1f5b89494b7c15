"""Structure: gradients, second differences, waves of every length, and local binary patterns."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from skinmnist.features.color import LEVELS, quantiles
from skinmnist.features.image_ops import LEAST, Floats, Numbers, Pictures, flat
from skinmnist.features.symmetry import wave_sizes

#: Bands of wavelengths from coarse to fine.
BANDS = 7
#: How far the neighbours of a local pattern lie, in pixels.
REACHES = {"light": (1, 2, 4), "red-blue": (1, 2), "red-green": (1, 2)}
PATTERNS = 10


def texture_features(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    """Yield name and values of every number about structure."""
    for name, plane in pictures.contrasts.items():
        yield from _gradients(name, plane)
        yield from _second_differences(name, plane)
        yield from _bands(name, plane)
        for reach in REACHES[name]:
            if min(plane.shape[1:]) >= 3 * reach:
                yield from _local_patterns(name, plane, reach)


def _gradients(name: str, plane: Floats) -> Iterator[tuple[str, Numbers]]:
    down = plane[:, 1:, :-1] - plane[:, :-1, 1:]
    across = plane[:, 1:, 1:] - plane[:, :-1, :-1]
    steepness = np.sqrt(down * down + across * across)
    for level, values in zip(LEVELS, quantiles(flat(steepness)), strict=True):
        yield f"{name}, gradient, quantile {level}", values


def _second_differences(name: str, plane: Floats) -> Iterator[tuple[str, Numbers]]:
    down = np.abs(plane[:, 2:] + plane[:, :-2] - 2 * plane[:, 1:-1]).mean(axis=(1, 2))
    across = np.abs(plane[:, :, 2:] + plane[:, :, :-2] - 2 * plane[:, :, 1:-1]).mean(axis=(1, 2))
    yield f"{name}, second difference, smaller", np.minimum(down, across)
    yield f"{name}, second difference, larger", np.maximum(down, across)


def _bands(name: str, plane: Floats) -> Iterator[tuple[str, Numbers]]:
    side = min(plane.shape[1:])
    power = np.square(wave_sizes(plane, side))
    energy = flat(power) @ _band_weights(side)
    for band in range(BANDS):
        yield f"{name}, waves in band {band}", np.log(energy[:, band] + LEAST**2 / 100)


@lru_cache(maxsize=8)
def _band_weights(side: int) -> Floats:
    """Membership of each pair of waves in bands of the logarithm of their frequency, (side * side, BANDS)."""
    waves = np.hypot(np.arange(side)[:, None], np.arange(side)).ravel()
    place = np.log(np.maximum(waves, 1)) / np.log(side * np.sqrt(2)) * (BANDS - 1)
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(BANDS)), 0, None)
    weights[0] = 0
    return weights.astype(np.float32)


def _local_patterns(name: str, plane: Floats, reach: int) -> Iterator[tuple[str, Numbers]]:
    """Yield shares of the rotation-invariant uniform patterns of 8 neighbours (Ojala et al. 2002)."""
    patterns = local_patterns(plane, reach)
    n, pixels = len(patterns), patterns[0].size
    patterns = patterns.reshape(n, pixels)
    counts = np.bincount((patterns + PATTERNS * np.arange(n)[:, None]).ravel(), minlength=n * PATTERNS)
    for code, share in enumerate(counts.reshape(n, PATTERNS).T / pixels):
        yield f"{name}, pattern {code} at {reach}", share


def local_patterns(plane: Floats, reach: int) -> npt.NDArray[np.int8]:
    """Return how many of 8 neighbours are as light as an inner pixel or lighter; 9 where not in a row."""
    height, width = plane.shape[1:]
    centre = plane[:, reach : height - reach, reach : width - reach]
    steps = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
    lighter = [
        plane[
            :, reach + y * reach : height - reach + y * reach, reach + x * reach : width - reach + x * reach
        ]
        >= centre
        for y, x in steps
    ]
    count = np.zeros(centre.shape, dtype=np.int8)
    changes = np.zeros(centre.shape, dtype=np.int8)
    for i in range(8):
        count += lighter[i]
        changes += lighter[i] ^ lighter[i - 1]
    return np.where(changes <= 2, count, np.int8(9))
