"""Pictures as the descriptors look at them: planes of floats, and weights that no symmetry changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

Shape = tuple[int, int, int]
#: float32 throughout, which the types do not follow through arithmetic.
Floats = npt.NDArray[np.floating]
#: One number for each picture, shape (n,).
Numbers = npt.NDArray[np.floating]

#: Least spread that anything is divided by, in units of the full range: half a grey level.
LEAST = np.float32(0.5 / 255)
#: Pixels along the longer side to which large pictures are reduced where fine structure does not matter.
REDUCED_SIDE = 32


@dataclass(frozen=True, eq=False)
class Pictures:
    """A few pictures and what several descriptors need of them.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width, channels)``.
    levels : ndarray of shape (channels, n, height, width), float32
        Pixels from 0 to 255.
    """

    shape: Shape
    levels: Floats

    @classmethod
    def of(cls, rows: npt.NDArray[np.uint8], shape: Shape) -> Pictures:
        """Take flat pixel rows apart into channels."""
        planes = np.moveaxis(rows.reshape(len(rows), *shape), 3, 0)
        return cls(shape, planes.astype(np.float32, order="C"))

    def reduced(self) -> Pictures:
        """Return the pictures with at most `REDUCED_SIDE` pixels a side, as means over areas."""
        height, width, channels = self.shape
        factor = max(height, width) / REDUCED_SIDE
        if factor <= 1:
            return self
        small = max(8, round(height / factor)), max(8, round(width / factor))
        down, across = _area_means(height, small[0]), _area_means(width, small[1])
        # Rounded, so that the order of a sum moves no pixel over a threshold.
        means = np.rint(down @ self.levels @ across.T * np.float32(256)) * np.float32(1 / 256)
        return Pictures((*small, channels), means)

    @property
    def square(self) -> bool:
        """Whether rows and columns may be swapped."""
        return self.shape[0] == self.shape[1]

    @property
    def colour(self) -> bool:
        """Whether there are three channels."""
        return self.shape[2] == 3

    @property
    def channel_names(self) -> tuple[str, ...]:
        """What the channels are called."""
        return ("red", "green", "blue") if self.colour else ("light",)

    @cached_property
    def channels(self) -> Floats:
        """Pixels from 0 to 1, shape (channels, n, height, width)."""
        return self.levels * np.float32(1 / 255)

    @cached_property
    def light(self) -> Floats:
        """Mean of the channels, shape (n, height, width)."""
        if not self.colour:
            return self.channels[0]
        return (self.channels[0] + self.channels[1] + self.channels[2]) * np.float32(1 / 3)

    @cached_property
    def contrasts(self) -> dict[str, Floats]:
        """Lightness and, where there is colour, its two opponents, by name, each (n, height, width)."""
        if not self.colour:
            return {"light": self.light}
        red, green, blue = self.channels
        return {"light": self.light, "red-blue": red - blue, "red-green": red - green}

    @cached_property
    def skin(self) -> Floats:
        """Colour of the skin around the lesion, shape (channels, n): the lighter half of the border.

        Mean over the border's pixels whose lightness is at least the border's median.
        """
        border = border_mask(self.shape)
        light = self.light[:, border]
        lighter = (light >= np.median(light, axis=1, keepdims=True)).astype(np.float32)
        # Sums of whole levels are exact in any order: no view of a picture moves a threshold.
        total = np.einsum("cnp,np->cn", self.levels[:, :, border], lighter)
        return total / (255 * lighter.sum(axis=1))


def flat(planes: Floats) -> Floats:
    """Join the last two axes."""
    return planes.reshape(*planes.shape[:-2], -1)


def places(shape: Shape) -> tuple[Floats, Floats]:
    """Return the places of rows and of columns, from -1 to 1 between the sides."""
    y, x = ((np.arange(length) - (length - 1) / 2) / (length / 2) for length in shape[:2])
    return y, x


@lru_cache(maxsize=8)
def overlapping_rings(shape: Shape, rings: int) -> Floats:
    """Weights of the pixels in rings around the centre, shape (height * width, rings), columns summing to 1.

    Rings overlap: a pixel belongs to the two that are nearest, so that none is empty on few pixels.
    """
    y, x = places(shape)
    distance = np.hypot(y[:, None], x).ravel()
    place = distance / distance.max() * (rings - 1)
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(rings)), 0, None)
    return (weights / weights.sum(axis=0)).astype(np.float32)


@lru_cache(maxsize=8)
def border_mask(shape: Shape) -> npt.NDArray[np.bool_]:
    """Tell which pixels lie in the outermost sixteenth of each side, shape (height, width)."""
    mask = np.ones(shape[:2], dtype=bool)
    y, x = -(-shape[0] // 16), -(-shape[1] // 16)
    mask[y:-y, x:-x] = False
    return mask


@lru_cache(maxsize=8)
def _area_means(length: int, wanted: int) -> Floats:
    """Weights that turn `length` pixels into means over `wanted` equal areas, shape (wanted, length)."""
    edges = np.linspace(0, length, wanted + 1)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(covered, 0, None) * (wanted / length)).astype(np.float32)
