"""Find near-duplicate pictures by comparing pixels, and check lesion ids against the pictures.

Pairs are found by two searches. The first computes correlations of pixels around their mean colour, including
rotated and mirrored views; on HAM10000, 101 of 101 pairs above its threshold at 28x28 and 112 of 114 at 8x8
are known to show the same lesion. The second (`skinmnist.datasets.second_views`) finds later pictures of a
lesion that are shifted or taken under different light. An empty result does not prove that a table has no
near-duplicates.
"""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.second_views import find_second_views, pooling
from skinmnist.datasets.table import PixelTable

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


def find_near_duplicates(table: PixelTable, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Find pairs among `rows` that appear to be copies or second views of the same lesion.

    Returns row numbers of shape (m, 2), int64, in ascending order with the smaller number first.
    """
    found = np.concatenate([correlated_pairs(table, rows), find_second_views(table, rows)])
    return np.unique(found, axis=0)


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
