"""Find near-duplicate pictures by comparing pixels, and check lesion ids against the pictures.

Pairs are found by two searches. The first computes correlations of pixels around their mean colour, including
rotated and mirrored views; on HAM10000, 101 of 101 pairs above its threshold at 28x28 and 112 of 114 at 8x8
are known to show the same lesion. The second (`find_second_views`) finds later pictures of a lesion that are
shifted or taken under different light. An empty result does not prove that a table has no near-duplicates.

Candidates of the second search are the nearest neighbours of each picture under three descriptors that
tolerate typical changes: rings around the lesion's centre and magnitudes of Fourier coefficients tolerate
shifts, and whitened pixels tolerate differences in lighting. The local contrast of candidates is then
equalised, which gives skin marks as much weight as the lesion, and the pictures are overlaid at every small
shift. Because all small round nevi are similar, the score of a pair is not its correlation but the amount by
which it exceeds the correlations of both pictures with their other candidates, as in score normalisation for
speaker verification (Auckenthaler et al., Digital Signal Processing 10, 2000).

Its threshold was chosen without using the pairs known to show one lesion under two ids. It is the lowest
value that yields no pair with different diagnoses, which would certainly be wrong, on HAM10000 at 28x28
(`experiments/benchmarks/second_views.py`).
"""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import numpy.typing as npt
import scipy
from threadpoolctl import threadpool_limits

from skinmnist.datasets.cache import code_digest, compute_once
from skinmnist.datasets.table import PixelTable

Floats = npt.NDArray[np.float32]

#: Minimum correlation at which two pictures count as near-duplicates.
ALIKE = 0.99
#: Side length and threshold of a first comparison of small versions; pairs above it are compared in detail.
_SMALL, _SMALL_BAR = 4, 0.98
#: Side length for the detailed comparison; at larger sizes, pictures of a lesion differ in noise and hairs.
_FINE = 14
#: Minimum spread around the mean colour in grey levels; pictures with less contrast correlate by chance.
_LEAST_CONTRAST = 2.0
#: Maximum number of rows that are searched, because the cost is quadratic in the number of rows.
MOST_ROWS = 40_000
_BLOCK = 1000
#: Maximum number of pairs of one lesion, and of other pictures per class, used to check the lesion ids.
_MOST_PAIRS, _MOST_OTHERS = 1000, 500
#: Number of standard deviations by which a second view must exceed the other candidates of its two pictures.
STANDS_OUT = 4.2
#: Minimum correlation of two overlaid pictures; a weaker match can exceed the others without being similar.
LEAST_FIT = 0.4
#: Minimum and maximum number of rows for second views; fewer yield too few candidates, more take too long.
FEWEST_VIEWED, MOST_VIEWED = 1000, 20_000
#: Minimum and maximum side length of overlaid pictures, and the side length used for descriptors.
_LEAST_SIDE, _SIDE, _COARSE = 8, 28, 14
#: Number of candidates per picture and descriptor.
_NEIGHBOURS = 5
#: Gaussian widths in pixels: the first two bound the scale of details; the third equalises local contrast.
_FINEST, _COARSEST, _AROUND = 0.4, 1.5, 2.0
#: Maximum shift as a share of the side length, and minimum spread of a picture's correlations (Fisher's z).
_SHIFT, _LEAST_SPREAD = 6 / 28, 0.05
_BATCH = 256
#: Largest number of cached pairs, as a multiple of twice the number of rows.
_MOST_KEPT = 100


def find_near_duplicates(table: PixelTable, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Find pairs among `rows` that appear to be copies or second views of the same lesion.

    Returns row numbers of shape (m, 2), int64, in ascending order with the smaller number first. Searches of
    many rows take seconds, so their results are kept in the cache.
    """

    def search() -> dict[str, npt.NDArray[np.int64]]:
        # These products are small, and other processes use the cores: threads would mostly wait for them.
        with threadpool_limits(1):
            found = np.concatenate([correlated_pairs(table, rows), find_second_views(table, rows)])
        # An empty array cannot be mapped into memory, so a first row is added.
        return {"pairs": np.concatenate([[(-1, -1)], np.unique(found, axis=0)])}

    if len(rows) < FEWEST_VIEWED:
        return search()["pairs"][1:]
    what = f"{code_digest(__name__)} {np.__version__} {scipy.__version__} {table.shape}"
    state = hashlib.sha256(what.encode())
    state.update(np.ascontiguousarray(rows, dtype=np.int64).data)
    state.update(np.ascontiguousarray(table.pixels).data)
    key = f"near-duplicates-{state.hexdigest()}"
    return np.array(compute_once(key, ("pairs",), len(rows) * _MOST_KEPT, search)["pairs"][1:])


def correlated_pairs(table: PixelTable, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Find pairs with a correlation of at least `ALIKE` in any rotated or mirrored view."""
    small, fine = (_standardised(table, rows, side) for side in (_SMALL, _FINE))
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(rows), _BLOCK):
        block = small[start : start + _BLOCK]
        others = small[start:].reshape(len(small) - start, -1).T
        alike = np.zeros((len(block), others.shape[1]), dtype=bool)
        for view in _views(block):
            alike |= view.reshape(len(block), -1) @ others >= _SMALL_BAR
        first, second = np.nonzero(np.triu(alike, 1))
        for part in range(0, len(first), _BLOCK):
            here = first[part : part + _BLOCK] + start, second[part : part + _BLOCK] + start
            pairs.append(np.stack(here, axis=1)[_correlation(fine[here[0]], fine[here[1]]) >= ALIKE])
    found = np.asarray(rows, dtype=np.int64)[np.concatenate(pairs)]
    found.sort(axis=1)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def first_copies(table: PixelTable, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the position of the first picture with identical pixels for each of the `rows`.

    The search uses hashes and therefore has no size limit. Pictures with a single uniform colour never count
    as copies, because they contain nothing that a model could recognise.
    """
    found = np.arange(len(rows))
    first: dict[bytes, int] = {}
    for start in range(0, len(rows), _BLOCK):
        block = np.ascontiguousarray(table.pixels[rows[start : start + _BLOCK]])
        pixels = block.reshape(len(block), -1, table.shape[2])
        for offset in np.flatnonzero((pixels != pixels[:, :1]).any(axis=(1, 2))):
            key = hashlib.blake2b(block[offset].data, digest_size=16).digest()
            found[start + offset] = first.setdefault(key, start + int(offset))
    return found


def lesion_likeness(table: PixelTable) -> tuple[int, float] | None:
    """Measure whether pictures of a lesion are more similar to each other than to others of the same class.

    The distance between two pictures is based on the mean and spread of their colours. On HAM10000, this
    separates lesions better than comparing pixels, because a second picture is rotated, shifted or taken
    from a shorter distance.

    Returns the number of pairs compared and the mean share of pictures of other lesions that are less
    similar, which is 0.5 if the ids are unrelated to the pictures. Returns None if no class has both a lesion
    with two pictures and another lesion.
    """
    if table.lesion_ids is None:
        return None
    lesions = np.unique(table.lesion_ids, return_inverse=True)[1]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(lesions))
    order = order[np.argsort(lesions[order], kind="stable")]
    pairs = np.stack([order[:-1], order[1:]], axis=1)[lesions[order[1:]] == lesions[order[:-1]]]
    pairs = rng.permutation(pairs)[:_MOST_PAIRS]
    shares = [np.zeros(0)]
    for label in np.unique(table.labels[pairs[:, 0]]):
        own = pairs[table.labels[pairs[:, 0]] == label]
        others = rng.permutation(np.flatnonzero(table.labels == label))[:_MOST_OTHERS]
        first, second, beside = (_colours(table, rows) for rows in (own[:, 0], own[:, 1], others))
        near = np.square(first - second).sum(axis=1)[:, None]
        far = np.square(first[:, None] - beside[None]).sum(axis=2)
        counted = lesions[own[:, 0]][:, None] != lesions[others]
        farther = ((far > near) + 0.5 * (far == near)) * counted
        known = counted.any(axis=1)
        shares.append(farther[known].sum(axis=1) / counted[known].sum(axis=1))
    found = np.concatenate(shares)
    return (len(found), float(found.mean())) if len(found) else None


def _colours(table: PixelTable, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Return the mean and the standard deviation of each channel, shape (n, 2 * channels)."""
    parts = []
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(table.pixels[rows[start : start + _BLOCK]], dtype=np.float64)
        pixels = block.reshape(len(block), -1, table.shape[2])
        parts.append(np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1))
    return np.concatenate(parts)


def _correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the maximum correlation of each pair over the rotated and mirrored views of one picture."""
    return np.max([np.einsum("nhwc,nhwc->n", view, second) for view in _views(first)], axis=0)


def _views(pictures: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Return the rotated and mirrored views of pictures: eight, or four if they are not square."""
    square = pictures.shape[1] == pictures.shape[2]
    turns = (0, 1, 2, 3) if square else (0, 2)
    mirrored = pictures[:, :, ::-1]
    return [np.rot90(side, turn, (1, 2)) for side, turn in product((pictures, mirrored), turns)]


def _standardised(table: PixelTable, rows: npt.NDArray[np.integer], side: int) -> npt.NDArray[np.float32]:
    """Downscale pictures to at most `side` x `side`, subtract their mean colour, and scale them to unit norm.

    A picture without contrast becomes a row of zeros, which correlates with no other picture.
    """
    height, width, _ = table.shape
    down, across = pooling(height, side), pooling(width, side)
    parts = []
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(table.pixels[rows[start : start + _BLOCK]], dtype=np.float32)
        block = block.reshape(len(block), *table.shape)
        parts.append(np.einsum("ph,qw,nhwc->npqc", down, across, block, optimize=True))
    pictures = np.concatenate(parts)
    pictures = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.einsum("nhwc,nhwc->n", pictures, pictures))
    least = _LEAST_CONTRAST * np.sqrt(np.prod(pictures.shape[1:]))
    return pictures * np.where(length >= least, 1 / np.maximum(length, 1e-6), 0)[:, None, None, None]


def find_second_views(table: PixelTable, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Find pairs among `rows` that appear to be two pictures of the same lesion.

    Returns row numbers of shape (m, 2), int64, in ascending order with the smaller number first. No pairs are
    returned for fewer than `FEWEST_VIEWED` or more than `MOST_VIEWED` rows, or if pictures are too small.
    """
    rows = np.sort(rows)  # Sort first, because the result depends on which picture is shifted.
    pairs, scores = score_pairs(table, rows)
    return rows[pairs[scores >= STANDS_OUT]].astype(np.int64)


def score_pairs(
    table: PixelTable, rows: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return candidate positions in `rows`, shape (m, 2), and the score of each pair, shape (m,)."""
    if not FEWEST_VIEWED <= len(rows) <= MOST_VIEWED or min(table.shape[:2]) < _LEAST_SIDE:
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    pictures = _shrunk(table, rows, _SIDE)
    blocks = range(0, len(rows), _BATCH)
    details = np.concatenate([_details(pictures[start : start + _BATCH]) for start in blocks])
    descriptors = [*_describe(pictures), _spectrum(details)]
    pairs = _candidates(descriptors, len(rows))
    fits = _fits(details.mean(axis=3), pairs)
    return pairs, np.where(fits >= LEAST_FIT, _standing_out(pairs, fits, len(rows)), 0.0)


def _shrunk(table: PixelTable, rows: npt.NDArray[np.integer], side: int) -> Floats:
    """Return pictures downscaled to at most `side` x `side`, shape (n, height, width, channels)."""
    height, width, _ = table.shape
    down, across = pooling(height, side), pooling(width, side)
    parts = []
    for start in range(0, len(rows), _BATCH):
        block = np.asarray(table.pixels[rows[start : start + _BATCH]], dtype=np.float32)
        parts.append(_filter(block.reshape(len(block), *table.shape), down, across))
    return np.concatenate(parts)


def _filter(pictures: Floats, down: Floats, across: Floats) -> Floats:
    """Multiply the columns of pictures by `down` and the rows by `across`."""
    n, height, width, channels = pictures.shape
    first = np.matmul(down, pictures.reshape(n, height, width * channels)).reshape(n, -1, width, channels)
    return np.asarray(np.matmul(across, first))


def _details(pictures: Floats) -> Floats:
    """Return local details of the log intensity with equalised contrast."""
    light = np.log(pictures + np.float32(20))
    details = _blurred(light, _FINEST) - _blurred(light, _COARSEST)
    energy = _blurred(np.square(details).mean(axis=3, keepdims=True), _AROUND)
    return np.asarray(details / np.sqrt(energy + np.float32(1e-4)))


def _blurred(pictures: Floats, width: float) -> Floats:
    return _filter(pictures, _gaussian(pictures.shape[1], width), _gaussian(pictures.shape[2], width))


def _gaussian(size: int, width: float) -> Floats:
    """Return the matrix that blurs a line of pixels, with the last pixel repeated beyond the edge."""
    reach = int(4 * width + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    matrix = np.zeros((size, size))
    for offset, weight in zip(range(-reach, reach + 1), weights / weights.sum(), strict=True):
        np.add.at(matrix, (np.arange(size), np.clip(np.arange(size) + offset, 0, size - 1)), weight)
    return matrix.astype(np.float32)


def _distances(height: int, width: int) -> npt.NDArray[np.float64]:
    """Return the distance of each pixel from the centre, rescaled to a 28 x 28 picture."""
    y, x = np.mgrid[:height, :width]
    return 28 * np.hypot((y - (height - 1) / 2) / height, (x - (width - 1) / 2) / width)


def _describe(pictures: Floats) -> tuple[Floats, Floats]:
    """Return two whitened descriptors: rings around the lesion's centre and raw pixels."""
    mean = pictures.mean(axis=(1, 2), keepdims=True)
    squares = np.einsum("nhwc,nhwc->nc", pictures, pictures) / np.float32(np.prod(pictures.shape[1:3]))
    spread = np.sqrt(np.maximum(squares[:, None, None] - np.square(mean), 0))
    down, across = (pooling(size, _COARSE) for size in pictures.shape[1:3])
    coarse = (_filter(pictures, down, across) - mean) / (spread + np.float32(4))
    return _whitened(_rings(coarse), 25, 0.5), _whitened(coarse, 25, 1.0)


def _rings(pictures: Floats) -> Floats:
    """Sample pictures at sixteen points on each of seven rings around the centre of the dark region."""
    n, height, width, _ = pictures.shape
    light = pictures.mean(axis=3)
    place = int(0.75 * height * width)
    skin = np.partition(light.reshape(n, -1), place, axis=1)[:, place, None, None]
    dark = np.clip(skin - light, 0, None) * np.exp(-np.square(_distances(height, width)) / 162) + 1e-6
    y, x = np.mgrid[:height, :width]
    mass = dark.sum(axis=(1, 2))
    radius = (np.arange(7)[:, None] + 0.5) / 15 * min(height, width)
    angle = np.arange(16) / 8 * np.pi
    centre_y, centre_x = ((dark * axis).sum(axis=(1, 2)) / mass for axis in (y, x))
    return _interpolated(
        pictures,
        np.clip(centre_y[:, None, None] + radius * np.sin(angle), 0, height - 1.001),
        np.clip(centre_x[:, None, None] + radius * np.cos(angle), 0, width - 1.001),
    )


def _interpolated(pictures: Floats, y: npt.NDArray[np.floating], x: npt.NDArray[np.floating]) -> Floats:
    """Interpolate pictures at fractional coordinates, shape (n, *points, channels)."""
    top, left = y.astype(np.intp), x.astype(np.intp)
    down, right = ((value - np.floor(value))[..., None].astype(np.float32) for value in (y, x))
    each = np.arange(len(pictures)).reshape(-1, *[1] * (y.ndim - 1))
    above = pictures[each, top, left] * (1 - right) + pictures[each, top, left + 1] * right
    below = pictures[each, top + 1, left] * (1 - right) + pictures[each, top + 1, left + 1] * right
    return np.asarray(above * (1 - down) + below * down)


def _spectrum(details: Floats) -> Floats:
    """Return the whitened Fourier magnitudes of the central part of each picture."""
    from scipy import fft

    window = np.clip((13.5 - _distances(*details.shape[1:3])) / 4, 0, 1).astype(np.float32)
    return _whitened(np.sqrt(np.abs(fft.rfft2(details * window[..., None], axes=(1, 2)))), 40, 0.7)


def _whitened(values: Floats, most: int, power: float) -> Floats:
    """Return principal components, each divided by a power of its standard deviation."""
    from scipy.linalg import eigh

    values = values.reshape(len(values), -1)
    values = values - values.mean(axis=0)
    some = values[:: max(len(values) // 2500, 1)]
    size = values.shape[1]
    largest = (max(size - most, 0), size - 1)
    variances, axes = eigh(some.T @ some / np.float32(len(some)), subset_by_index=largest)
    return np.asarray((values @ axes) / np.maximum(variances, 1e-9) ** (power / 2), dtype=np.float32)


def _candidates(descriptors: list[Floats], n: int) -> npt.NDArray[np.int64]:
    """Return the nearest neighbours under each descriptor as unique pairs, with the smaller index first."""
    near = np.concatenate([_nearest(values) for values in descriptors], axis=1)
    pairs = np.stack([np.repeat(np.arange(n), near.shape[1]), near.ravel()], axis=1)
    pairs.sort(axis=1)
    keys = np.unique(pairs[:, 0] * n + pairs[:, 1])
    return np.stack([keys // n, keys % n], axis=1)


def _nearest(values: Floats) -> npt.NDArray[np.int64]:
    lengths = np.square(values).sum(axis=1)
    found = np.empty((len(values), _NEIGHBOURS), dtype=np.int64)
    for start in range(0, len(values), _BATCH):
        block = values[start : start + _BATCH]
        distances = lengths - 2 * (block @ values.T)
        each = np.arange(len(block))
        distances[each, start + each] = np.inf
        for place in range(_NEIGHBOURS):  # Finding the minimum a few times is faster than a partition.
            found[start + each, place] = least = distances.argmin(axis=1)
            distances[each, least] = np.inf
    return found


def _fits(details: Floats, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the maximum correlation of the second picture's centre with the first over all shifts."""
    from scipy import fft

    height, width = details.shape[1:]
    reach = [max(1, round(_SHIFT * size)) for size in (height, width)]
    sizes = [
        fft.next_fast_len(size + most + 1, True) for size, most in zip((height, width), reach, strict=True)
    ]
    lags = np.ix_(*(np.r_[0 : most + 1, size - most : size] for size, most in zip(sizes, reach, strict=True)))
    window = np.clip((13.5 - _distances(height, width)) / 3, 0, 1).astype(np.float32)
    whole = fft.rfft2(details, sizes, axes=(1, 2))
    middle = fft.rfft2(details * window, sizes, axes=(1, 2)).conj()
    energy = fft.rfft2(np.square(details), sizes, axes=(1, 2)) * fft.rfft2(window, sizes).conj()
    below = fft.irfft2(energy, sizes, axes=(1, 2))[(slice(None), *lags)]
    scale = 1 / np.sqrt(np.maximum(below, 1e-6))
    length = np.sqrt((np.square(details) * window).sum(axis=(1, 2)))
    found = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _BATCH):
        first, second = pairs[start : start + _BATCH].T
        products = fft.irfft2(whole[first] * middle[second], sizes, axes=(1, 2))[(slice(None), *lags)]
        most = (products * scale[first]).max(axis=(1, 2))
        found[start : start + _BATCH] = most / np.maximum(length[second], 1e-3)
    return found


def _standing_out(
    pairs: npt.NDArray[np.int64], fits: npt.NDArray[np.float32], n: int
) -> npt.NDArray[np.float64]:
    """Return by how much each pair's correlation exceeds those of the other candidates of its pictures.

    The result is in standard deviations of Fisher's z, averaged over both pictures.
    """
    z = np.arctanh(np.clip(fits.astype(np.float64), -0.99, 0.995))
    both, twice = pairs.T.ravel(), np.tile(z, 2)
    counts = np.bincount(both, minlength=n)
    sums, squares = (np.bincount(both, values, minlength=n) for values in (twice, twice**2))
    scores = np.zeros(len(pairs))
    for side in pairs.T:
        others = np.maximum(counts[side] - 1, 1)
        mean = (sums[side] - z) / others
        variance = (squares[side] - z**2) / others - mean**2
        scores += (z - mean) / np.sqrt(np.maximum(variance, _LEAST_SPREAD**2)) / 2
    return scores


def pooling(size: int, side: int) -> npt.NDArray[np.float32]:
    """Return weights that average `size` pixels into at most `side` equal bins, shape (bins, size)."""
    edges = np.linspace(0, size, min(side, size) + 1)[:, None]
    pixels = np.arange(size)
    overlap = np.clip(np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels), 0, None)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)
