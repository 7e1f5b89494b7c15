"""Texture features: spots, slopes, gradients, second differences, waves, and local binary patterns."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from skinmnist.features.image_ops import (
    LEAST,
    Features,
    Floats,
    Images,
    Shape,
    centered,
    flat,
    named_quantiles,
    overlapping_rings,
    ring_means,
    wave_sizes,
)

#: Standard deviations of the blurs for detecting spots, in pixels; 0 means no blur.
BLURS = (0.0, 0.8, 1.6, 3.2)
SPOT_LEVELS = (0.02, 0.1, 0.25, 0.75, 0.9, 0.98)
RINGS = 5
#: Number of wavelength bands, from coarse to fine.
BANDS = 7
#: Distances in pixels to the neighbors in a local pattern.
REACHES = {"light": (1, 2, 4), "red-blue": (1, 2), "red-green": (1, 2)}
PATTERNS = 10


def detail_features(images: Images) -> Features:
    """Yield all features of spots and slopes, which can also be measured on a reduced image."""
    for name, plane in images.contrasts.items():
        yield from _spots(name, plane)
        yield from _slopes(name, plane, images.shape)


def _spots(name: str, plane: Floats) -> Features:
    """Yield quantiles of differences of Gaussian blurs, which detect dots and globules."""
    finer = plane
    for number, deviation in enumerate(BLURS[1:]):
        coarser = blur(plane, deviation)
        yield from named_quantiles(f"{name}, spots of size {number}", finer - coarser, SPOT_LEVELS)
        finer = coarser


def blur(plane: Floats, deviation: float) -> Floats:
    """Blur images with a Gaussian filter, with reflection at the border."""
    down, across = (_blur_matrix(length, deviation) for length in plane.shape[1:])
    return down @ plane @ across.T


@lru_cache(maxsize=16)
def _blur_matrix(length: int, deviation: float) -> Floats:
    """Return the weights of neighbors for each position, shape (length, length); rows sum to 1."""
    place = np.arange(length)
    images = np.concatenate([-1 - place[::-1], place, 2 * length - 1 - place[::-1]])
    weights = np.exp(-0.5 * ((place[:, None] - images) / deviation) ** 2)
    left, middle, right = np.split(weights, 3, axis=1)
    folded = left[:, ::-1] + middle + right[:, ::-1]
    return (folded / folded.sum(axis=1, keepdims=True)).astype(np.float32)


def _slopes(name: str, plane: Floats, shape: Shape) -> Features:
    """Yield mean slopes in rings: total slope, outward slope, and magnitude of the outward slope."""
    y, x = (place.astype(np.float32) for place in centered(shape))
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
        yield from ring_means(f"{name}, {kind}", values, weights)


def texture_features(images: Images) -> Features:
    """Yield all features of fine structure, which require the full resolution."""
    for name, plane in images.contrasts.items():
        yield from _gradients(name, plane)
        yield from _second_differences(name, plane)
        yield from _bands(name, plane)
        for reach in REACHES[name]:
            if min(plane.shape[1:]) >= 3 * reach:
                yield from _local_patterns(name, plane, reach)


def _gradients(name: str, plane: Floats) -> Features:
    down = plane[:, 1:, :-1] - plane[:, :-1, 1:]
    across = plane[:, 1:, 1:] - plane[:, :-1, :-1]
    steepness = np.sqrt(down * down + across * across)
    yield from named_quantiles(f"{name}, gradient", steepness)


def _second_differences(name: str, plane: Floats) -> Features:
    down = np.abs(plane[:, 2:] + plane[:, :-2] - 2 * plane[:, 1:-1]).mean(axis=(1, 2))
    across = np.abs(plane[:, :, 2:] + plane[:, :, :-2] - 2 * plane[:, :, 1:-1]).mean(axis=(1, 2))
    yield f"{name}, second difference, smaller", np.minimum(down, across)
    yield f"{name}, second difference, larger", np.maximum(down, across)


def _bands(name: str, plane: Floats) -> Features:
    side = min(plane.shape[1:])
    power = np.square(wave_sizes(plane, side))
    energy = flat(power) @ _band_weights(side)
    for band in range(BANDS):
        yield f"{name}, waves in band {band}", np.log(energy[:, band] + LEAST**2 / 100)


@lru_cache(maxsize=8)
def _band_weights(side: int) -> Floats:
    """Return the weight of each pair of waves in log-frequency bands, shape (side * side, BANDS)."""
    waves = np.hypot(np.arange(side)[:, None], np.arange(side)).ravel()
    place = np.log(np.maximum(waves, 1)) / np.log(side * np.sqrt(2)) * (BANDS - 1)
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(BANDS)), 0, None)
    weights[0] = 0
    return weights.astype(np.float32)


def _local_patterns(name: str, plane: Floats, reach: int) -> Features:
    """Yield the shares of rotation-invariant uniform patterns of 8 neighbors (Ojala et al. 2002)."""
    patterns = local_patterns(plane, reach)
    n, pixels = len(patterns), patterns[0].size
    patterns = patterns.reshape(n, pixels)
    counts = np.bincount((patterns + PATTERNS * np.arange(n)[:, None]).ravel(), minlength=n * PATTERNS)
    for code, share in enumerate(counts.reshape(n, PATTERNS).T / pixels):
        yield f"{name}, pattern {code} at {reach}", share


def local_patterns(plane: Floats, reach: int) -> npt.NDArray[np.int8]:
    """Return how many of the 8 neighbors are at least as light as each inner pixel; 9 if not contiguous."""

    def shifted(y: int, x: int) -> Floats:
        rows, columns = (
            slice(reach * (1 + step), length - reach * (1 - step))
            for step, length in zip((y, x), plane.shape[1:], strict=True)
        )
        return plane[:, rows, columns]

    center = shifted(0, 0)
    steps = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
    lighter = [shifted(y, x) >= center for y, x in steps]
    count = np.zeros(center.shape, dtype=np.int8)
    changes = np.zeros(center.shape, dtype=np.int8)
    for i in range(8):
        count += lighter[i]
        changes += lighter[i] ^ lighter[i - 1]
    return np.where(changes <= 2, count, np.int8(9))
