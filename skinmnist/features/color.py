"""Color features: location, spread, and the named colors used in dermoscopy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from skinmnist.features.image_ops import (
    LEAST,
    LEVELS,
    Features,
    Floats,
    Images,
    flat,
    named_quantiles,
    overlapping_rings,
    ring_means,
    spread,
)

RINGS = 7
#: Constant added to light before the logarithm, which makes nearly black pixels count as black.
DARK = np.float32(0.02)

#: Lightness boundaries between shades, as shares of the lightness of the skin.
SHADES = (0.4, 0.6, 0.8, 0.95)

#: The six dermoscopic colors of lesions, and skin, as shares of the color of the surrounding skin.
NAMED_COLORS = {
    "skin": (1.0, 1.0, 1.0),
    "white": (1.10, 1.15, 1.15),
    "red": (0.85, 0.60, 0.60),
    "light brown": (0.80, 0.72, 0.65),
    "dark brown": (0.50, 0.42, 0.40),
    "blue-grey": (0.55, 0.65, 0.75),
    "black": (0.20, 0.20, 0.22),
}
_PAIRS = ((0, 1), (0, 2), (1, 2))


def color_features(images: Images) -> Features:
    """Yield all color features of a batch of images."""
    weights = overlapping_rings(images.shape, RINGS)
    levels = []
    for name, plane in zip(images.channel_names, images.channels, strict=True):
        yield from _rings(name, flat(plane), weights)
        named = list(named_quantiles(name, plane))
        yield from named
        levels.append([values for _, values in named])
    yield from _densities(images, weights, levels)
    if images.has_color:
        yield from _mixtures(images)
        yield from _covariance(images)
        relative = flat(images.channels) / np.maximum(images.skin, LEAST)[:, :, None]
        nearest = nearest_colors(relative)
        for code, name in enumerate(NAMED_COLORS):
            yield f"share of {name}", (nearest == code).mean(axis=1)
        yield from _shades(relative)


def _rings(name: str, values: Floats, weights: Floats) -> Features:
    center = values.mean(axis=1, keepdims=True)
    values = values - center
    means = values @ weights
    spreads = spread((values * values) @ weights, means)
    for ring in range(RINGS):
        yield f"{name}, mean in ring {ring}", means[:, ring] + center[:, 0]
        yield f"{name}, spread in ring {ring}", spreads[:, ring]


def _mixtures(images: Images) -> Features:
    red, green, blue = images.channels
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    for name, plane in {**images.contrasts, "chroma": chroma}.items():
        yield from named_quantiles(name, plane)


def _densities(images: Images, weights: Floats, levels: Sequence[Sequence[Floats]]) -> Features:
    """Yield the log ratio of each channel to the skin, which is independent of the light source.

    Up to its sign, the log ratio is the optical density of the pigment.
    """
    density = np.log(images.channels + DARK)
    skin = np.log(images.skin + DARK)
    density -= skin[:, :, None, None]
    for channel, (name, plane) in enumerate(zip(images.channel_names, density, strict=True)):
        yield from ring_means(f"{name} against skin, mean", plane, weights)
        # The logarithm is monotonic, so quantiles of the density follow from quantiles of the channel.
        for level, values in zip(LEVELS, levels[channel], strict=True):
            yield f"{name} against skin, quantile {level}", np.log(values + DARK) - skin[channel]
    if images.has_color:
        for first, second in _PAIRS:
            name = f"{images.channel_names[first]} over {images.channel_names[second]} against skin"
            yield from named_quantiles(name, density[first] - density[second])


def _covariance(images: Images) -> Features:
    values = flat(images.channels)
    values = values - values.mean(axis=2, keepdims=True)
    cross = np.einsum("anp,bnp->abn", values, values) / values.shape[2]
    spreads = np.sqrt(np.maximum(cross[range(3), range(3)], 0))
    names = images.channel_names
    for name, own in zip(names, spreads, strict=True):
        yield f"{name}, spread", own
    for i, j in _PAIRS:
        together = cross[i, j] / np.maximum(spreads[i] * spreads[j], LEAST**2)
        yield f"{names[i]} with {names[j]}, correlation", together


def _shades(relative: Floats) -> Features:
    """Yield the mean and spread of the opponent colors among pixels of similar lightness."""
    red, green, blue = relative
    light = (red + green + blue) / np.float32(3)
    opponents = {"red-blue": red - blue, "red-green": red - green}
    for shade, (lowest, highest) in enumerate(itertools.pairwise((-np.inf, *SHADES, np.inf))):
        chosen = ((light > lowest) & (light <= highest)).astype(np.float32)
        count = chosen.sum(axis=1)
        yield f"share of shade {shade}", count / chosen.shape[1]
        count = np.maximum(count, 1)
        for name, plane in opponents.items():
            masked = plane * chosen
            mean = masked.sum(axis=1) / count
            yield f"{name} in shade {shade}", mean
            square = np.einsum("np,np->n", masked, masked) / count
            yield f"{name} in shade {shade}, spread", spread(square, mean)


def nearest_colors(relative: Floats) -> npt.NDArray[np.int8]:
    """Return codes, shape (n, pixels), of the nearest `NAMED_COLORS` for colors of shape (3, n, pixels)."""
    red, green, blue = relative
    nearest = np.zeros(red.shape, dtype=np.int8)
    best = np.full(red.shape, -np.inf, dtype=np.float32)
    for code, anchor in enumerate(np.asarray(list(NAMED_COLORS.values()), dtype=np.float32)):
        # The negative of half the squared distance, without the terms common to all colors.
        closeness = red * anchor[0] + green * anchor[1] + blue * anchor[2] - anchor @ anchor / 2
        nearest[closeness > best] = code
        np.maximum(best, closeness, out=best)
    return nearest
