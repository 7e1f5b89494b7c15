"""How the pictures of synthetic lesions are taken: view, light, focus and hairs, drawn for every picture.

Deviations of view and light are drawn from Laplace's distribution: as in HAM10000, many pictures of a lesion
are nearly the same and some differ much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

#: Standard deviations of the turn (radians), the shift (half widths of the picture), and of the logarithms of
#: the zoom, the contrast, the gain and each channel's own gain.
TURN, SHIFT, ZOOM, CONTRAST, GAIN, CAST = 0.5, 0.08, 0.20, 0.18, 0.06, 0.03
#: Share of pictures that are mirrored.
MIRRORED = 0.15
#: Blur: median of its standard deviation (half widths) and the spread of that one's logarithm.
BLUR, BLUR_SPREAD = 0.04, 0.6
#: Mean of the logarithm of light that is lost at distance 1 from the centre.
SHADING = 0.05
#: Light of one unit of dark skin tone and of warmth, as logarithms of red, green and blue: the leading axes
#: of the skin colours of HAM10000.
TONE = np.array([-0.37, -0.64, -0.67])
WARMTH = np.array([0.88, -0.12, -0.37])
MAX_HAIRS = 6


@dataclass(frozen=True)
class Views:
    """How each picture was taken; every array has a row for each picture.

    Attributes
    ----------
    lesions : ndarray of shape (n,), int
        Row of the lesion that the picture shows.
    transforms : ndarray of shape (n, 2, 3)
        From a position in the picture to one on the lesion: mirror, zoom and turn, then shift.
    contrast : ndarray of shape (n,)
        Factor on the density of every pigment.
    blur : ndarray of shape (n,)
        Standard deviation of the blur, in half widths.
    light : ndarray of shape (n, 3)
        Logarithm of the gain of every channel, skin colour included.
    shading : ndarray of shape (n,)
        Logarithm of light lost at distance 1 from the centre.
    hairs : ndarray of shape (n, MAX_HAIRS, 4)
        Angle, distance from the centre, curvature and density; density 0 where there is no hair.
    """

    lesions: npt.NDArray[np.intp]
    transforms: Floats
    contrast: Floats
    blur: Floats
    light: Floats
    shading: Floats
    hairs: Floats


def draw_views(attributes: dict[str, Floats], rows: npt.NDArray[np.intp], rng: np.random.Generator) -> Views:
    """Draw view, light and hairs of one picture for each entry of `rows` (rows of the lesions)."""
    n = len(rows)
    light = _laplace(rng, GAIN, (n, 1)) + _laplace(rng, CAST, (n, 3))
    light += attributes["tone"][rows, None] * TONE + attributes["warmth"][rows, None] * WARMTH
    return Views(
        lesions=rows,
        transforms=_draw_transforms(n, rng),
        contrast=np.exp(_laplace(rng, CONTRAST, n)).astype(np.float32),
        blur=(BLUR * np.exp(BLUR_SPREAD * rng.standard_normal(n))).astype(np.float32),
        light=light.astype(np.float32),
        shading=rng.exponential(SHADING, n).astype(np.float32),
        hairs=_draw_hairs(attributes["hairs"][rows], rng),
    )


def _laplace(
    rng: np.random.Generator, deviation: float, size: int | tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Draws from Laplace's distribution around 0 of a given standard deviation."""
    return rng.laplace(0.0, deviation / np.sqrt(2), size)


def _draw_transforms(n: int, rng: np.random.Generator) -> Floats:
    turn = _laplace(rng, TURN, n)
    zoom = np.exp(_laplace(rng, ZOOM, n))
    mirror = np.where(rng.random(n) < MIRRORED, -1.0, 1.0)
    transforms = np.empty((n, 2, 3), dtype=np.float32)
    transforms[:, 0, 0] = np.cos(turn) * zoom * mirror
    transforms[:, 0, 1] = -np.sin(turn) * zoom
    transforms[:, 1, 0] = np.sin(turn) * zoom * mirror
    transforms[:, 1, 1] = np.cos(turn) * zoom
    transforms[:, :, 2] = _laplace(rng, SHIFT, (n, 2))
    return transforms


def _draw_hairs(expected: Floats, rng: np.random.Generator) -> Floats:
    """Hairs of pictures with the given expected numbers, shape (n, MAX_HAIRS, 4)."""
    shape = (len(expected), MAX_HAIRS)
    counts = rng.poisson(np.minimum(expected, MAX_HAIRS))
    angle = rng.uniform(0, 2 * np.pi, shape)
    distance = rng.uniform(-1.2, 1.2, shape)
    curvature = rng.uniform(-0.3, 0.3, shape)
    density = rng.uniform(0.05, 0.5, shape) * (np.arange(MAX_HAIRS) < counts[:, None])
    return np.stack([angle, distance, curvature, density], axis=2).astype(np.float32)
