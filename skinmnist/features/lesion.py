"""Features of the lesion: segmentation by darkness, region, and symmetry."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skinmnist.features.image_ops import LEAST, LEVELS, Features, Floats, Images, flat, spread, wave_sizes

#: Number of cosine waves along each axis for the coarse pattern.
WAVES = 5


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
