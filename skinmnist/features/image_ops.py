"""Image planes for feature extractors, and operations that are invariant to rotation and mirroring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

Shape = tuple[int, int, int]
#: Arrays that are always float32; numpy's types do not preserve this in arithmetic.
Floats = npt.NDArray[np.floating]
#: Name and values of each feature; values have shape (n,), with one value per image.
Features = Iterator[tuple[str, npt.NDArray[np.floating]]]

#: Minimum divisor for spreads: half a grey level, relative to the full range.
LEAST = np.float32(0.5 / 255)
#: Maximum length of the longer side in pixels of images reduced for coarse structure.
REDUCED_SIDE = 32
#: Levels of the quantiles that summarize a plane.
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Images:
    """A batch of images and the planes shared by several extractors."""

    #: ``(height, width, channels)``.
    shape: Shape
    #: Pixel values from 0 to 255, float32, shape (channels, n, height, width).
    levels: Floats

    @classmethod
    def of(cls, rows: npt.NDArray[np.uint8], shape: Shape) -> Images:
        """Split flat pixel rows into channels."""
        planes = np.moveaxis(rows.reshape(len(rows), *shape), 3, 0)
        return cls(shape, planes.astype(np.float32, order="C"))

    def reduced(self) -> Images:
        """Return the images downscaled to at most `REDUCED_SIDE` pixels per side by area averaging."""
        height, width, channels = self.shape
        factor = max(height, width) / REDUCED_SIDE
        if factor <= 1:
            return self
        small = max(8, round(height / factor)), max(8, round(width / factor))
        down, across = _area_means(height, small[0]), _area_means(width, small[1])
        # Round the means to prevent the order of summation from moving pixels across a threshold.
        means = np.rint(down @ self.levels @ across.T * np.float32(256)) * np.float32(1 / 256)
        return Images((*small, channels), means)

    @property
    def square(self) -> bool:
        """Whether height and width are equal, so that images can be transposed."""
        return self.shape[0] == self.shape[1]

    @property
    def has_color(self) -> bool:
        """Whether the images have three channels."""
        return self.shape[2] == 3

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return ("red", "green", "blue") if self.has_color else ("light",)

    @cached_property
    def channels(self) -> Floats:
        """Pixel values from 0 to 1, shape (channels, n, height, width)."""
        return self.levels * np.float32(1 / 255)

    @cached_property
    def light(self) -> Floats:
        """Mean of the channels, shape (n, height, width)."""
        if not self.has_color:
            return self.channels[0]
        return (self.channels[0] + self.channels[1] + self.channels[2]) * np.float32(1 / 3)

    @cached_property
    def contrasts(self) -> dict[str, Floats]:
        """Lightness and, for color images, two opponent colors by name, each of shape (n, height, width)."""
        if not self.has_color:
            return {"light": self.light}
        red, green, blue = self.channels
        return {"light": self.light, "red-blue": red - blue, "red-green": red - green}

    @cached_property
    def skin(self) -> Floats:
        """Color of the skin around the lesion, shape (channels, n).

        This is the mean of the border pixels that are at least as light as the median of the border.
        """
        border = border_mask(self.shape)
        light = self.light[:, border]
        lighter = (light >= np.median(light, axis=1, keepdims=True)).astype(np.float32)
        # Sums of integer levels are exact in any order, so thresholds are the same for all views of an image.
        total = np.einsum("cnp,np->cn", self.levels[:, :, border], lighter)
        return total / (255 * lighter.sum(axis=1))


def flat(planes: Floats) -> Floats:
    """Flatten the last two axes."""
    return planes.reshape(*planes.shape[:-2], -1)


def quantiles(values: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Return quantiles over the last axis without interpolation; the first axis contains the levels."""
    ordered = np.sort(values, axis=-1)
    ranks = np.rint(np.array(levels) * (values.shape[-1] - 1)).astype(int)
    return np.moveaxis(ordered[..., ranks], -1, 0)


def named_quantiles(name: str, values: Floats, levels: Sequence[float] = LEVELS) -> Features:
    """Yield quantiles of a plane of shape (n, height, width)."""
    for level, found in zip(levels, quantiles(flat(values), levels), strict=True):
        yield f"{name}, quantile {level}", found


def ring_means(name: str, values: Floats, weights: Floats) -> Features:
    """Yield weighted means of a plane, with weights from `overlapping_rings`."""
    for ring, found in enumerate((flat(values) @ weights).T):
        yield f"{name} in ring {ring}", found


def spread(square: Floats, mean: Floats) -> Floats:
    """Return standard deviations computed from mean squares and means."""
    return np.sqrt(np.maximum(square - mean**2, 0))


def centered(shape: Shape) -> tuple[Floats, Floats]:
    """Return the coordinates of rows and columns, which range from -1 to 1 between opposite sides."""
    y, x = ((np.arange(length) - (length - 1) / 2) / (length / 2) for length in shape[:2])
    return y, x


@lru_cache(maxsize=8)
def overlapping_rings(shape: Shape, rings: int) -> Floats:
    """Return pixel weights for rings around the center, shape (height * width, rings); columns sum to 1.

    Each pixel belongs to the two nearest rings, which ensures that no ring is empty in small images.
    """
    y, x = centered(shape)
    distance = np.hypot(y[:, None], x).ravel()
    place = distance / distance.max() * (rings - 1)
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(rings)), 0, None)
    return (weights / weights.sum(axis=0)).astype(np.float32)


@lru_cache(maxsize=8)
def border_mask(shape: Shape) -> npt.NDArray[np.bool_]:
    """Return a mask of the outermost sixteenth along each side, shape (height, width)."""
    mask = np.ones(shape[:2], dtype=bool)
    y, x = -(-shape[0] // 16), -(-shape[1] // 16)
    mask[y:-y, x:-x] = False
    return mask


@lru_cache(maxsize=8)
def _area_means(length: int, wanted: int) -> Floats:
    """Return weights that average `length` pixels into `wanted` equal areas, shape (wanted, length)."""
    edges = np.linspace(0, length, wanted + 1)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(covered, 0, None) * (wanted / length)).astype(np.float32)


def wave_sizes(plane: Floats, waves: int) -> Floats:
    """Return the leading cosine transform coefficients of images, shape (n, waves, waves)."""
    height, width = plane.shape[1:]
    centred = plane - plane.mean(axis=(1, 2), keepdims=True)
    return _cosines(height, waves).T @ centred @ _cosines(width, waves)


@lru_cache(maxsize=16)
def _cosines(length: int, waves: int) -> Floats:
    """Return orthogonal cosine waves of unit mean square divided by the length, shape (length, waves)."""
    place = (np.arange(length) + 0.5) / length
    table = np.cos(np.pi * place[:, None] * np.arange(waves)) * np.where(np.arange(waves) > 0, np.sqrt(2), 1)
    return (table / length).astype(np.float32)
