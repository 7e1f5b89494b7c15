"""Colour: where it lies, how it is spread, and which of the names of dermoscopy it has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from skinmnist.features.image_ops import LEAST, Floats, Numbers, Pictures, flat, overlapping_rings

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
RINGS = 7
#: Added to light before its logarithm is taken: what is nearly black is black.
DARK = np.float32(0.02)

#: Lightness between one shade and the next, as shares of that of the skin.
SHADES = (0.4, 0.6, 0.8, 0.95)

#: The six colours that dermoscopy counts in a lesion, as shares of the colour of the skin around it.
NAMED_COLOURS = {
    "skin": (1.0, 1.0, 1.0),
    "white": (1.10, 1.15, 1.15),
    "red": (0.85, 0.60, 0.60),
    "light brown": (0.80, 0.72, 0.65),
    "dark brown": (0.50, 0.42, 0.40),
    "blue-grey": (0.55, 0.65, 0.75),
    "black": (0.20, 0.20, 0.22),
}


def color_features(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    """Yield name and values of every number about colour."""
    weights = overlapping_rings(pictures.shape, RINGS)
    found = [quantiles(flat(plane)) for plane in pictures.channels]
    for name, plane, levels in zip(pictures.channel_names, pictures.channels, found, strict=True):
        yield from _rings(name, flat(plane), weights)
        yield from _named(name, levels)
    yield from _densities(pictures, weights, found)
    if pictures.colour:
        yield from _mixtures(pictures)
        yield from _covariance(pictures)
        relative = flat(pictures.channels) / np.maximum(pictures.skin, LEAST)[:, :, None]
        yield from _named_colours(relative)
        yield from _shades(relative)


def quantiles(values: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Return quantiles over the last axis, without interpolation; the levels are the first axis."""
    ordered = np.sort(values, axis=-1)
    ranks = np.rint(np.array(levels) * (values.shape[-1] - 1)).astype(int)
    return np.moveaxis(ordered[..., ranks], -1, 0)


def _quantiles(name: str, plane: Floats) -> Iterator[tuple[str, Numbers]]:
    yield from _named(name, quantiles(flat(plane)))


def _named(name: str, found: Floats) -> Iterator[tuple[str, Numbers]]:
    for level, values in zip(LEVELS, found, strict=True):
        yield f"{name}, quantile {level}", values


def _rings(name: str, values: Floats, weights: Floats) -> Iterator[tuple[str, Numbers]]:
    centre = values.mean(axis=1, keepdims=True)
    values = values - centre
    means = values @ weights
    spreads = np.sqrt(np.maximum((values * values) @ weights - means**2, 0))
    for ring in range(RINGS):
        yield f"{name}, mean in ring {ring}", means[:, ring] + centre[:, 0]
        yield f"{name}, spread in ring {ring}", spreads[:, ring]


def _mixtures(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    red, green, blue = pictures.channels
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    for name, plane in {**pictures.contrasts, "chroma": chroma}.items():
        yield from _quantiles(name, plane)


def _densities(
    pictures: Pictures, weights: Floats, levels: Sequence[Floats]
) -> Iterator[tuple[str, Numbers]]:
    """Yield how dark each channel is against the skin: another lamp moves both by the same factor.

    The logarithm of their ratio is the optical density of the pigment.
    """
    density = np.log(pictures.channels + DARK)
    skin = np.log(pictures.skin + DARK)
    density -= skin[:, :, None, None]
    for channel, (name, plane) in enumerate(zip(pictures.channel_names, density, strict=True)):
        means = flat(plane) @ weights
        for ring in range(RINGS):
            yield f"{name} against skin, mean in ring {ring}", means[:, ring]
        # The logarithm keeps the order, so that the channel's quantiles tell those of its density.
        yield from _named(f"{name} against skin", np.log(levels[channel] + DARK) - skin[channel])
    if pictures.colour:
        for first, second in ((0, 1), (0, 2), (1, 2)):
            name = f"{pictures.channel_names[first]} over {pictures.channel_names[second]} against skin"
            yield from _quantiles(name, density[first] - density[second])


def _covariance(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    values = flat(pictures.channels)
    values = values - values.mean(axis=2, keepdims=True)
    cross = np.einsum("anp,bnp->abn", values, values) / values.shape[2]
    spread = np.sqrt(np.maximum(cross[range(3), range(3)], 0))
    names = pictures.channel_names
    for i, name in enumerate(names):
        yield f"{name}, spread", spread[i]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        together = cross[i, j] / np.maximum(spread[i] * spread[j], LEAST**2)
        yield f"{names[i]} with {names[j]}, correlation", together


def _named_colours(relative: Floats) -> Iterator[tuple[str, Numbers]]:
    nearest = nearest_colours(relative)
    for code, name in enumerate(NAMED_COLOURS):
        yield f"share of {name}", (nearest == code).mean(axis=1)


def _shades(relative: Floats) -> Iterator[tuple[str, Numbers]]:
    """Yield the hue of each shade: mean and spread of the opponents among pixels of like lightness."""
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
            square = np.einsum("np,np->n", masked, masked) / count
            yield f"{name} in shade {shade}", mean
            yield f"{name} in shade {shade}, spread", np.sqrt(np.maximum(square - mean**2, 0))


def nearest_colours(relative: Floats) -> npt.NDArray[np.int8]:
    """Return which of `NAMED_COLOURS` is nearest to colours of shape (3, n, pixels), codes (n, pixels)."""
    red, green, blue = relative
    nearest = np.zeros(red.shape, dtype=np.int8)
    best = np.full(red.shape, -np.inf, dtype=np.float32)
    for code, anchor in enumerate(np.asarray(list(NAMED_COLOURS.values()), dtype=np.float32)):
        # The square of the distance, without what all anchors share, halved and with the other sign.
        closeness = red * anchor[0] + green * anchor[1] + blue * anchor[2] - anchor @ anchor / 2
        nearest[closeness > best] = code
        np.maximum(best, closeness, out=best)
    return nearest
