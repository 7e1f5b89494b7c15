"""Colour: where it lies, how it is spread, and which of the names of dermoscopy it has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skinmnist.models.descriptors_pictures import LEAST, RINGS, Floats, Numbers, Pictures, flat, ring_weights

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)

#: The six colours that dermoscopy counts in a lesion, as shares of the colour of the skin around it.
NAMED_COLOURS = {
    "white": (1.10, 1.15, 1.15),
    "red": (0.85, 0.60, 0.60),
    "light brown": (0.80, 0.72, 0.65),
    "dark brown": (0.50, 0.42, 0.40),
    "blue-grey": (0.55, 0.65, 0.75),
    "black": (0.20, 0.20, 0.22),
}


def colour_numbers(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    """Yield name and values of every number about colour."""
    yield from _rings(pictures)
    yield from _quantiles(pictures)
    if pictures.colour:
        yield from _covariance(pictures)
        yield from _named_colours(pictures)


def quantiles(values: Floats) -> Floats:
    """Return the `LEVELS` of the last axis, without interpolation; the levels are the first axis."""
    ordered = np.sort(values, axis=-1)
    places = np.rint(np.array(LEVELS) * (values.shape[-1] - 1)).astype(int)
    return np.moveaxis(ordered[..., places], -1, 0)


def _rings(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    weights = ring_weights(pictures.shape)
    for name, plane in zip(("red", "green", "blue"), pictures.channels, strict=False):
        name = name if pictures.colour else "light"
        values = flat(plane)
        centre = values.mean(axis=1, keepdims=True)
        values = values - centre
        means = values @ weights
        spreads = np.sqrt(np.maximum((values * values) @ weights - means**2, 0))
        for ring in range(RINGS):
            yield f"{name}, mean in ring {ring}", means[:, ring] + centre[:, 0]
            yield f"{name}, spread in ring {ring}", spreads[:, ring]


def _quantiles(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    for name, plane in pictures.planes.items():
        for level, values in zip(LEVELS, quantiles(flat(plane)), strict=True):
            yield f"{name}, quantile {level}", values


def _covariance(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    values = flat(pictures.channels)
    values = values - values.mean(axis=2, keepdims=True)
    cross = np.einsum("anp,bnp->abn", values, values) / values.shape[2]
    spread = np.sqrt(np.maximum(cross[range(3), range(3)], 0))
    names = ("red", "green", "blue")
    for i, name in enumerate(names):
        yield f"{name}, spread", spread[i]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        together = cross[i, j] / np.maximum(spread[i] * spread[j], LEAST**2)
        yield f"{names[i]} with {names[j]}, correlation", together


def _named_colours(pictures: Pictures) -> Iterator[tuple[str, Numbers]]:
    relative = flat(pictures.channels) / np.maximum(pictures.skin, LEAST)[:, :, None]
    anchors = np.array([(1.0, 1.0, 1.0), *NAMED_COLOURS.values()], dtype=np.float32)
    distances = np.stack([np.square(relative - anchor[:, None, None]).sum(axis=0) for anchor in anchors])
    nearest = distances.argmin(axis=0)
    for code, name in enumerate(("skin", *NAMED_COLOURS)):
        yield f"share of {name}", (nearest == code).mean(axis=1)
