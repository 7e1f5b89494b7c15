"""Pictures as the descriptors look at them: planes of floats, and weights that no symmetry changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

Shape = tuple[int, int, int]
Floats = npt.NDArray[np.float32]
#: One number for each picture, shape (n,).
Numbers = npt.NDArray[np.floating]

RINGS = 7
#: Least spread that anything is divided by, in units of the full range: half a grey level.
LEAST = np.float32(0.5 / 255)


@dataclass(frozen=True, eq=False)
class Pictures:
    """A few pictures and what several descriptors need of them.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width, channels)``.
    channels : ndarray of shape (channels, n, height, width), float32
        Pixels divided by 255.
    """

    shape: Shape
    channels: Floats

    @classmethod
    def of(cls, rows: npt.NDArray[np.uint8], shape: Shape) -> Pictures:
        """Take flat pixel rows apart into channels."""
        planes = np.moveaxis(rows.reshape(len(rows), *shape), 3, 0)
        return cls(shape, np.multiply(planes, np.float32(1 / 255), order="C", dtype=np.float32))

    @property
    def square(self) -> bool:
        """Whether rows and columns may be swapped."""
        return self.shape[0] == self.shape[1]

    @property
    def colour(self) -> bool:
        """Whether there are three channels."""
        return self.shape[2] == 3

    @cached_property
    def light(self) -> Floats:
        """Mean of the channels, shape (n, height, width)."""
        if not self.colour:
            return self.channels[0]
        return (self.channels[0] + self.channels[1] + self.channels[2]) * np.float32(1 / 3)

    @cached_property
    def planes(self) -> dict[str, Floats]:
        """Channels and their mixtures by name, each of shape (n, height, width)."""
        if not self.colour:
            return {"light": self.light}
        red, green, blue = self.channels
        chroma = np.max(self.channels, axis=0) - np.min(self.channels, axis=0)
        return {
            "red": red,
            "green": green,
            "blue": blue,
            "light": self.light,
            "chroma": chroma,
            "red-blue": red - blue,
            "red-green": red - green,
        }

    @cached_property
    def skin(self) -> Floats:
        """Colour of the skin around the lesion, shape (channels, n): the lighter half of the border.

        Mean over the border's pixels whose lightness is at least the border's median.
        """
        border = border_mask(self.shape)
        light = self.light[:, border]
        lighter = (light >= np.median(light, axis=1, keepdims=True)).astype(np.float32)
        total = np.einsum("cnp,np->cn", self.channels[:, :, border], lighter)
        return total / lighter.sum(axis=1)


def flat(planes: Floats) -> Floats:
    """Join the last two axes."""
    return planes.reshape(*planes.shape[:-2], -1)


@lru_cache(maxsize=8)
def radius(shape: Shape) -> Floats:
    """Distance from the centre in half widths and heights, shape (height, width): 1 at the sides' middles."""
    y = (np.arange(shape[0]) - (shape[0] - 1) / 2) / (shape[0] / 2)
    x = (np.arange(shape[1]) - (shape[1] - 1) / 2) / (shape[1] / 2)
    return np.hypot(y[:, None], x[None, :]).astype(np.float32)


@lru_cache(maxsize=8)
def ring_weights(shape: Shape) -> Floats:
    """Weights of the pixels in rings around the centre, shape (height * width, RINGS), columns summing to 1.

    Rings overlap: a pixel belongs to the two that are nearest, so that no ring is empty on 8 x 8 pixels.
    """
    place = radius(shape).ravel() / np.sqrt(2) * (RINGS - 1)
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(RINGS)), 0, None)
    return (weights / weights.sum(axis=0)).astype(np.float32)


@lru_cache(maxsize=8)
def border_mask(shape: Shape) -> npt.NDArray[np.bool_]:
    """Tell which pixels lie in the outermost eighth of each side, shape (height, width)."""
    mask = np.ones(shape[:2], dtype=bool)
    y, x = -(-shape[0] // 16), -(-shape[1] // 16)
    mask[y:-y, x:-x] = False
    return mask
