"""What pixels say of lesions: pictures that look nearly the same, and whether lesion ids fit the pictures.

Two searches find pairs. The first compares pictures as they are and turned or mirrored, by the correlation of
their pixels around their mean colour: on HAM10000, 101 of 101 pairs above its threshold at 28x28, and 112 of
114 at 8x8, are known to show one lesion. The second (`skinmnist.datasets.second_views`) finds pictures of one
lesion that were taken again, shifted or under other light. A search that finds nothing proves nothing.
"""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.second_views import find_second_views, pooling
from skinmnist.datasets.table import PixelTable

#: Correlation from which two pictures count as looking nearly the same.
ALIKE = 0.99
#: Nothing is lost by looking at small versions first, with a lower bar: what is alike there is compared anew.
_SMALL, _SMALL_BAR = 4, 0.98
#: Finer than this, dermatoscopic pictures of one lesion differ by noise and hairs.
_FINE = 14
#: Pictures that vary less around their mean colour, in grey levels, correlate by chance.
_LEAST_CONTRAST = 2.0
#: Larger tables are not searched: the cost grows with the square of the rows.
MOST_ROWS = 40_000
_BLOCK = 1000
#: Pairs of one lesion, and pictures of each class beside them, that are enough to see whether ids fit.
_MOST_PAIRS, _MOST_OTHERS = 1000, 500


def find_near_duplicates(table: PixelTable, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Find pairs among `rows` of a table that look like copies or second views of one lesion.

    Returns row numbers of shape (m, 2), int64, the smaller first, in ascending order.
    """
    found = np.concatenate([correlated_pairs(table, rows), find_second_views(table, rows)])
    return np.unique(found, axis=0)


def correlated_pairs(table: PixelTable, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Find pairs of a correlation of `ALIKE` or more, turned or mirrored or as they are, as above."""
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
    """Return, for each of `rows`, the position among them of the first picture with the very same pixels.

    At any size of the table, by hashes. Pictures of one colour throughout are copies of nothing: they show
    nothing by which a model could know them.
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
    """Measure whether pictures of one lesion are more alike than those of different lesions of its class.

    The distance of two pictures is that of the mean and the spread of their colours: on HAM10000 this tells
    lesions apart better than pixels at their places, for a second picture is turned, shifted or taken closer.

    Returns the number of pairs of one lesion that were looked at, and the mean share of the other lesions'
    pictures that are less alike: 0.5 where the ids say nothing about the pictures. None where no lesion has
    two pictures, or none has others of its class beside it.
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
    """Return the mean and the standard deviation of each channel of pictures, shape (n, 2 * channels)."""
    parts = []
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(table.pixels[rows[start : start + _BLOCK]], dtype=np.float64)
        pixels = block.reshape(len(block), -1, table.shape[2])
        parts.append(np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1))
    return np.concatenate(parts)


def _correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the largest correlation of pictures, pair by pair, over the ways to turn one of them."""
    return np.max([np.einsum("nhwc,nhwc->n", view, second) for view in _views(first)], axis=0)


def _views(pictures: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Return pictures as they are, turned and mirrored: eight ways, four where they are not square."""
    square = pictures.shape[1] == pictures.shape[2]
    turns = (0, 1, 2, 3) if square else (0, 2)
    mirrored = pictures[:, :, ::-1]
    return [np.rot90(side, turn, (1, 2)) for side, turn in product((pictures, mirrored), turns)]


def _standardised(table: PixelTable, rows: npt.NDArray[np.integer], side: int) -> npt.NDArray[np.float32]:
    """Shrink pictures to at most `side` x `side`, take their mean colour away, and scale to length 1.

    A picture without contrast becomes all zeros, which are like nothing.
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
