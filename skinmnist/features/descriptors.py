"""The features of a picture: its colors, the lesion in it, and its texture.

Colors are measured by location, spread, and the named colors used in dermoscopy; the lesion is segmented by
darkness and measured by region and symmetry; texture is measured by spots, slopes, gradients, second
differences, waves, and local binary patterns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from skinmnist.features.image_ops import (
    LEAST,
    LEVELS,
    Features,
    Floats,
    Images,
    Shape,
    centered,
    flat,
    named_quantiles,
    overlapping_rings,
    ring_means,
    spread,
    wave_sizes,
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
#: Number of cosine waves along each axis for the coarse pattern.
WAVES = 5
#: Standard deviations of the blurs for detecting spots, in pixels; 0 means no blur.
BLURS = (0.0, 0.8, 1.6, 3.2)
SPOT_LEVELS = (0.02, 0.1, 0.25, 0.75, 0.9, 0.98)
SLOPE_RINGS = 5
#: Number of wavelength bands, from coarse to fine.
BANDS = 7
#: Distances in pixels to the neighbors in a local pattern.
REACHES = {"light": (1, 2, 4), "red-blue": (1, 2), "red-green": (1, 2)}
PATTERNS = 10


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


def lesion_features(images: Images) -> Features:
    """Yield all features of the lesion region."""
    names = images.channel_names
    for name, skin in zip(names, images.skin, strict=True):
        yield f"{name}, skin", skin
    light = flat(images.light)
    threshold, parted = otsu(light)
    inside = light <= threshold[:, None]
    yield "lesion, parted from skin", parted
    yield "lesion, darkness of its edge", threshold - images.skin.mean(axis=0)
    yield from _colors(images, names, inside)
    yield from _inner_quantiles(images, inside)
    region = inside.reshape(images.light.shape)
    yield from _form(region)
    yield from _edge(images.light, region)
    yield "lesion, pieces less holes", pieces(region)
    yield "rest, pieces less holes", pieces(~region)


def otsu(light: Floats) -> tuple[Floats, Floats]:
    """Segment pixels of shape (n, pixels) with Otsu's threshold (1979).

    Returns the maximum value of the darker class and the between-class share of the variance, both float32
    arrays of shape (n,).
    """
    ordered = np.sort(light, axis=1)
    pixels = light.shape[1]
    centered = ordered - ordered.mean(axis=1, keepdims=True)
    dark = np.cumsum(centered, axis=1, dtype=np.float64)[:, :-1]
    count = np.arange(1, pixels)
    between = dark * dark / (count * (pixels - count) / pixels)
    # A threshold must lie between two different values to keep pixels with equal values together.
    between *= ordered[:, 1:] > ordered[:, :-1]
    best = between.argmax(axis=1)
    rows = np.arange(len(light))
    total = np.square(centered).sum(axis=1)
    parted = between[rows, best] / np.maximum(total, pixels * LEAST**2)
    return ordered[rows, best], parted.astype(np.float32)


def _colors(images: Images, names: tuple[str, ...], inside: npt.NDArray[np.bool_]) -> Features:
    weights = inside.astype(np.float32)
    size = weights.sum(axis=1)
    outside = np.maximum(weights.shape[1] - size, 1)
    for name, plane, skin in zip(names, flat(images.channels), images.skin, strict=True):
        values = plane - skin[:, None]
        masked = values * weights
        total = masked.sum(axis=1)
        mean = total / size
        mean_outside = (values.sum(axis=1) - total) / outside
        square = np.einsum("np,np->n", masked, values)
        square_outside = np.einsum("np,np->n", values, values) - square
        yield f"{name}, lesion against skin", mean
        yield f"{name}, rest against skin", mean_outside
        yield f"{name}, spread in the lesion", spread(square / size, mean)
        yield f"{name}, spread in the rest", spread(square_outside / outside, mean_outside)


def _inner_quantiles(images: Images, inside: npt.NDArray[np.bool_]) -> Features:
    last = inside.sum(axis=1) - 1
    rows = np.arange(len(inside))
    planes = dict(zip(images.channel_names, images.channels, strict=True)) | images.contrasts
    for name, plane in planes.items():
        # Pixels outside the lesion are sorted to the end.
        ordered = np.sort(np.where(inside, flat(plane), np.float32(np.inf)), axis=1)
        for level in LEVELS:
            ranks = np.rint(level * last).astype(int)
            yield f"{name} in the lesion, quantile {level}", ordered[rows, ranks]


def _edge(light: Floats, inside: npt.NDArray[np.bool_]) -> Features:
    """Yield the mean and spread of lightness steps between neighbors across the border of the lesion."""
    total, square, count = np.zeros(len(light)), np.zeros(len(light)), np.zeros(len(light))
    for near, far in (np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :, 1:], np.s_[:, :, :-1]):
        crossed = inside[near] != inside[far]
        steps = np.abs(light[near] - light[far]) * crossed
        count += crossed.sum(axis=(1, 2))
        total += steps.sum(axis=(1, 2))
        square += np.einsum("nhw,nhw->n", steps, steps)
    count = np.maximum(count, 1)
    mean = total / count
    yield "lesion, step at the border", mean
    yield "lesion, spread of the step at the border", spread(square / count, mean)


def pieces(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating]:
    """Return the signed logarithm of the number of pieces minus holes in regions (n, height, width).

    This difference is the Euler number, computed locally as pixels minus pairs of neighbors plus blocks of
    four.
    """
    pairs = inside[:, 1:] & inside[:, :-1]
    blocks = pairs[:, :, 1:] & pairs[:, :, :-1]
    across = inside[:, :, 1:] & inside[:, :, :-1]
    pixels, down, right, fours = (part.sum(axis=(1, 2)) for part in (inside, pairs, across, blocks))
    count = pixels - down - right + fours
    return np.sign(count) * np.log1p(np.abs(count))


def _form(inside: npt.NDArray[np.bool_]) -> Features:
    height, width = inside.shape[1:]
    pixels = height * width
    area = inside.mean(axis=(1, 2))
    yield "lesion, area", area
    edges_x = inside[:, :, 1:] ^ inside[:, :, :-1]
    edges_y = inside[:, 1:] ^ inside[:, :-1]
    edge = (edges_x.sum(axis=(1, 2)) + edges_y.sum(axis=(1, 2))) / np.sqrt(pixels)
    yield "lesion, length of the border", edge
    yield "lesion, border against area", edge / np.sqrt(area)
    touching = inside[:, 0].sum(axis=1) + inside[:, -1].sum(axis=1)
    touching = touching + inside[:, :, 0].sum(axis=1) + inside[:, :, -1].sum(axis=1)
    yield "lesion, share of the sides touched", touching / (2 * (height + width))

    y = ((np.arange(height) - (height - 1) / 2) / height).astype(np.float32)
    x = ((np.arange(width) - (width - 1) / 2) / width).astype(np.float32)
    weights = inside.astype(np.float32)
    by_row, by_column = weights.sum(axis=2), weights.sum(axis=1)
    size = by_row.sum(axis=1)
    center_y, center_x = by_row @ y / size, by_column @ x / size
    yield "lesion, distance from the centre", np.hypot(center_y, center_x)
    var_y = by_row @ (y * y) / size - center_y**2
    var_x = by_column @ (x * x) / size - center_x**2
    cov = np.einsum("nhw,h,w->n", weights, y, x, optimize=True) / size - center_y * center_x
    longer = np.hypot((var_y - var_x) / 2, cov)
    yield "lesion, extent", np.sqrt(np.maximum(var_y + var_x, 0))
    yield "lesion, elongation", longer / np.maximum((var_y + var_x) / 2, 1e-4)
    yield "lesion, compactness", np.sqrt(np.maximum(var_y + var_x, 0)) / np.sqrt(area)


def symmetry_features(images: Images) -> Features:
    """Yield all features of symmetry and the coarse pattern."""
    for name, plane in images.contrasts.items():
        yield from _asymmetry(name, plane, images.square)
        yield from _waves(name, plane)


def _asymmetry(name: str, plane: Floats, square: bool) -> Features:
    """Yield mean absolute differences between an image and its mirror images.

    The order of a pair of mirror images depends on the view, but the smaller and the larger difference do
    not.
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


def _waves(name: str, plane: Floats) -> Features:
    """Yield the magnitudes of cosine waves, with each wave and its transpose sorted by magnitude.

    Mirroring changes the sign of a wave with an odd number of half periods; rotation swaps rows and columns.
    """
    found = wave_sizes(plane, WAVES)
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
    weights = overlapping_rings((shape[0] - 2, shape[1] - 2, shape[2]), SLOPE_RINGS)
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
