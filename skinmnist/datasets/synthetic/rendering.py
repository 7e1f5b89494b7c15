"""Render dermoscopy-like pictures from the attributes of lesions with vectorised numpy operations.

Colours follow the Beer-Lambert law: skin reflects a share of the light, and every pigment multiplies it by
``exp(-density * absorption)`` in each channel. Shapes and textures are functions of the position on the
lesion, so all pictures of a lesion show the same outline, patches and network from different views.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.mapped import row_blocks

#: Light reflected by skin with zero warmth and no pigment in red, green and blue, as a share of white.
SKIN = np.array([0.65, 0.665, 0.74], dtype=np.float32)
#: Absorption of the pigments in red, green and blue per unit of density, estimated from HAM10000 as the log
#: ratio of the lesion's centre to the surrounding skin (nevi for melanin, vascular lesions for blood).
MELANIN = np.array([0.47, 0.98, 1.10], dtype=np.float32)
BLOOD = np.array([0.10, 1.00, 0.75], dtype=np.float32)
VEIL = np.array([1.15, 0.95, 0.60], dtype=np.float32)
#: Change in absorption per unit of depth: deep melanin appears blue-grey, shallow melanin yellow-brown.
DEPTH = np.array([0.70, 0.0, -0.80], dtype=np.float32)
#: Standard deviation of the pixel noise in the logarithm of light.
NOISE = 0.020

#: Number of waves in a random field, and harmonics of an outline.
WAVES = 10
HARMONICS = (2, 3, 4, 5, 6, 7)
#: Wave numbers in cycles: patches per lesion radius, network and skin per half width of the picture.
PATCH_CYCLES, NETWORK_CYCLES, SKIN_CYCLES = (0.3, 1.2), (1.5, 6.0), (0.4, 5.0)
#: Distance that a halo extends beyond the outline, and width of its border, in radii.
HALO_REACH, HALO_EDGE = np.float32(0.4), np.float32(0.2)
#: Border width of blue-grey nests, in standard deviations of their field.
NEST_EDGE = np.float32(0.3)
#: Negative threshold above which the field of scales (unit variance) becomes visible, and maximum whiteness.
WHITE_BASE, WHITE_MOST = np.float32(0.6), np.float32(0.9)
#: Logarithm of the light lost in dark corners, and width of their edge.
CORNER_LOSS, CORNER_EDGE = 3, np.float32(0.04)
#: Half width of a hair; if pixels are coarser, a fainter hair with a half width of `HAIR_PIXELS` is drawn.
HAIR, HAIR_PIXELS = 0.02, 0.6
#: Number of pixels rendered at once; small enough for intermediate arrays to fit in the processor's cache.
CHUNK_PIXELS = 1 << 17

Floats = npt.NDArray[np.float32]
#: Standard deviations of the rotation (radians), the shift (half widths of the picture), and the logarithms
#: of the zoom, the contrast, the gain and the gain per channel.
TURN, SHIFT, ZOOM, CONTRAST, GAIN, CAST = 0.5, 0.08, 0.20, 0.18, 0.06, 0.03
#: Share of mirrored pictures.
MIRRORED = 0.15
#: Blur: median of its standard deviation (half widths), and the spread of its logarithm.
BLUR, BLUR_SPREAD = 0.04, 0.6
#: Mean of the logarithm of the light lost at distance 1 from the centre.
SHADING = 0.05
#: Effect of one unit of dark skin tone and of warmth on the logarithms of red, green and blue; these are the
#: leading principal axes of skin colour in HAM10000.
TONE = np.array([-0.37, -0.64, -0.67])
WARMTH = np.array([0.88, -0.12, -0.37])
MAX_HAIRS = 6


@dataclass(frozen=True)
class Lesions:
    """Properties shared by all pictures of a lesion; every array has one row per lesion."""

    #: shape (n,): result of `skinmnist.datasets.synthetic.lesions.sample_attributes`.
    attributes: dict[str, Floats]
    #: shape (n, len(HARMONICS), 2): amplitude (unit variance over the circle when summed) and phase of the
    #: outline's waves.
    outlines: Floats
    axes: Floats  # shape (n,): angle of the long axis, radians
    #: shape (n, WAVES, 4): wave numbers along x and y (radians), phases and amplitudes of the random fields.
    fields: dict[str, Floats]


def sample_structures(attributes: dict[str, Floats], rng: np.random.Generator) -> Lesions:
    """Sample the outlines and random fields of lesions with the given attributes."""
    n = len(attributes["size"])
    amplitudes = rng.standard_normal((n, len(HARMONICS))) / np.array(HARMONICS)
    amplitudes *= np.sqrt(2.0 / np.sum(1.0 / np.square(HARMONICS)))
    outlines = np.stack([amplitudes, rng.uniform(0, 2 * np.pi, amplitudes.shape)], axis=2)
    axes = rng.uniform(0, np.pi, n).astype(np.float32)
    cycles = {
        "patches": PATCH_CYCLES,
        "nests": PATCH_CYCLES,
        "network": NETWORK_CYCLES,
        "scales": NETWORK_CYCLES,
        "skin": SKIN_CYCLES,
    }
    fields = {}
    for name, (low, high) in cycles.items():
        numbers = 2 * np.pi * np.exp(rng.uniform(np.log(low), np.log(high), (n, WAVES)))
        if cycles[name] is PATCH_CYCLES:
            numbers /= attributes["size"][:, None]
        angles = rng.uniform(0, 2 * np.pi, (n, WAVES))
        phases = rng.uniform(0, 2 * np.pi, (n, WAVES))
        amplitudes = 1 / np.sqrt(numbers)
        amplitudes *= np.sqrt(2 / np.square(amplitudes).sum(axis=1, keepdims=True))
        waves = np.stack([numbers * np.cos(angles), numbers * np.sin(angles), phases, amplitudes], axis=2)
        fields[name] = waves.astype(np.float32)
    return Lesions(attributes, outlines.astype(np.float32), axes, fields)


def render(
    lesions: Lesions,
    views: Views,
    height: int,
    width: int,
    rng: np.random.Generator,
    chunk_pixels: int = CHUNK_PIXELS,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Render all pictures in uint8 chunks of shape (m, height, width, 3).

    The pictures do not depend on `chunk_pixels`.
    """
    n = len(views.lesions)
    for rows in row_blocks(n, max(1, chunk_pixels // (height * width))):
        noise = rng.standard_normal((rows.stop - rows.start, height, width, 3), dtype=np.float32)
        logs = _log_light(lesions, views, rows, height, width)
        logs += np.float32(NOISE) * noise
        yield np.clip(255 * np.exp(logs) + np.float32(0.5), 0, 255).astype(np.uint8)


def _log_light(lesions: Lesions, views: Views, rows: slice, height: int, width: int) -> Floats:
    """Return the logarithm of the light per pixel and channel, shape (rows, height, width, 3)."""
    pixel = 2.0 / min(height, width)
    grid_y = ((np.arange(height, dtype=np.float32) - (height - 1) / 2) * pixel).astype(np.float32)[:, None]
    grid_x = ((np.arange(width, dtype=np.float32) - (width - 1) / 2) * pixel).astype(np.float32)[None, :]
    matrix = views.transforms[rows, :, :, None, None]
    x = matrix[:, 0, 0] * grid_x + matrix[:, 0, 1] * grid_y + matrix[:, 0, 2]
    y = matrix[:, 1, 0] * grid_x + matrix[:, 1, 1] * grid_y + matrix[:, 1, 2]

    which = views.lesions[rows]
    of = {name: values[which, None, None] for name, values in lesions.attributes.items()}
    # Averaging over a square pixel is about equivalent to a Gaussian blur with the variance of the square.
    blur = np.hypot(views.blur[rows], np.float32(pixel / np.sqrt(12)))
    field = {name: _waves(waves[which], x, y, blur) for name, waves in lesions.fields.items()}
    depth = _depth(of, lesions.outlines[which], lesions.axes[which, None, None], x, y)
    inside = _step(depth, np.hypot(of["softness"], blur[:, None, None] / of["size"]))

    logs = -_density(of, field, depth, inside)
    logs *= views.contrast[rows, None, None, None]
    logs += np.log(SKIN)
    white = of["scale"] * inside * np.maximum(WHITE_BASE + field["scales"], 0)
    logs *= 1 - np.minimum(white, WHITE_MOST)[..., None]
    logs += views.light[rows, None, None, :]
    logs -= _shade(views, rows, of["field"], grid_x, grid_y, pixel)[..., None]
    return logs


def _density(of: dict[str, Floats], field: dict[str, Floats], depth: Floats, inside: Floats) -> Floats:
    """Return the density of all pigments per pixel and channel, shape (rows, height, width, 3)."""
    profile = np.exp(of["centre"] * (np.float32(0.5) - np.clip(1 - depth, 0, 1)))
    variety = np.exp(of["variegation"] * field["patches"] + of["texture"] * field["network"])
    melanin = of["melanin"] * inside * profile * variety + of["mottling"] * field["skin"]
    blood = of["blood"] * inside * np.exp(of["variegation"] * field["nests"])
    blood += of["halo"] * _step(depth + HALO_REACH, HALO_EDGE) + of["mottling"] * field["scales"]
    # Nests fill half of the lesion; doubling their density makes the lesion's mean equal to the attribute.
    veil = 2 * of["veil"] * inside * _step(field["nests"], NEST_EDGE)
    density = melanin[..., None] * (MELANIN + of["depth"][..., None] * DEPTH)
    density += blood[..., None] * BLOOD
    density += veil[..., None] * VEIL
    return density


def _waves(waves: Floats, x: Floats, y: Floats, blur: Floats) -> Floats:
    """Return a random field with unit variance before a Gaussian blur, which attenuates short waves."""
    total = np.zeros_like(x)
    for k in range(waves.shape[1]):
        along_x, along_y, phase, amplitude = waves[:, k].T
        amplitude = amplitude * np.exp(-(np.square(along_x) + np.square(along_y)) * np.square(blur) / 2)
        angle = along_x[:, None, None] * x
        angle += along_y[:, None, None] * y
        angle += phase[:, None, None]
        np.cos(angle, out=angle)
        angle *= amplitude[:, None, None]
        total += angle
    return total


def _depth(of: dict[str, Floats], outlines: Floats, axes: Floats, x: Floats, y: Floats) -> Floats:
    """Return the depth inside the outline in radii: 1 at the centre, negative outside."""
    stretch = np.exp(of["elongation"] / 2)
    along = (np.cos(axes) * x + np.sin(axes) * y) / stretch
    across = (np.cos(axes) * y - np.sin(axes) * x) * stretch
    angle: Floats = np.arctan2(across, along)
    radius = np.zeros_like(angle)
    for k, harmonic in enumerate(HARMONICS):
        amplitude, phase = outlines[:, k].T[:, :, None, None]
        wave: Floats = amplitude * np.cos(harmonic * angle + phase)
        radius += wave
    reach: Floats = of["size"] * np.exp(of["irregularity"] * radius)
    distance: Floats = np.hypot(along, across)
    return 1 - distance / reach


def _step(depth: Floats, width: Floats | np.float32) -> Floats:
    """Return a smooth step from 0 at negative depth to 1 over a few widths."""
    step: Floats = np.tanh(depth / width)
    step += 1
    step *= np.float32(0.5)
    return step


def _shade(views: Views, rows: slice, field: Floats, grid_x: Floats, grid_y: Floats, pixel: float) -> Floats:
    """Return the logarithm of the light lost to the rim of the lens and to hairs."""
    distance = np.hypot(grid_x, grid_y)[None]
    lost = views.shading[rows, None, None] * np.square(distance)
    lost += CORNER_LOSS * _step(distance - field, CORNER_EDGE)
    hairs = views.hairs[rows]
    width = np.float32(max(HAIR, HAIR_PIXELS * pixel))
    for k in range(MAX_HAIRS):
        hairy = np.flatnonzero(hairs[:, k, 3])
        angle, offset, curvature, density = hairs[hairy, k].T[:, :, None, None]
        along = np.cos(angle) * grid_x + np.sin(angle) * grid_y
        across = np.cos(angle) * grid_y - np.sin(angle) * grid_x - offset - curvature * np.square(along)
        lost[hairy] += density * np.float32(2 * HAIR / width) * np.exp(-np.square(across / width))
    return lost


@dataclass(frozen=True)
class Views:
    """View, light and hairs of each picture; every array has one row per picture."""

    lesions: npt.NDArray[np.intp]  # shape (n,), int: row number of the lesion in the picture
    #: shape (n, 2, 3): transform from picture to lesion coordinates (mirroring, zoom, rotation, then shift).
    transforms: Floats
    contrast: Floats  # shape (n,): factor applied to the density of every pigment
    blur: Floats  # shape (n,): standard deviation of the blur, in half widths
    light: Floats  # shape (n, 3): logarithm of the gain of every channel, skin colour included
    shading: Floats  # shape (n,): logarithm of the light lost at distance 1 from the centre
    #: shape (n, MAX_HAIRS, 4): angle, distance from the centre, curvature and density; 0 density for unused
    #: hairs.
    hairs: Floats


def sample_views(
    attributes: dict[str, Floats], rows: npt.NDArray[np.intp], rng: np.random.Generator
) -> Views:
    """Sample the view, light and hairs of one picture per entry of `rows`, the row numbers of lesions.

    Laplace distributions are used because most pictures of a lesion in HAM10000 are similar, but some differ
    considerably.
    """
    n = len(rows)
    light = _laplace(rng, GAIN, (n, 1)) + _laplace(rng, CAST, (n, 3))
    light += attributes["tone"][rows, None] * TONE + attributes["warmth"][rows, None] * WARMTH
    return Views(
        lesions=rows,
        transforms=_sample_transforms(n, rng),
        contrast=np.exp(_laplace(rng, CONTRAST, n)).astype(np.float32),
        blur=(BLUR * np.exp(BLUR_SPREAD * rng.standard_normal(n))).astype(np.float32),
        light=light.astype(np.float32),
        shading=rng.exponential(SHADING, n).astype(np.float32),
        hairs=_sample_hairs(attributes["hairs"][rows], rng),
    )


def _laplace(
    rng: np.random.Generator, deviation: float, size: int | tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Sample from a zero-mean Laplace distribution with the given standard deviation."""
    return rng.laplace(0.0, deviation / np.sqrt(2), size)


def _sample_transforms(n: int, rng: np.random.Generator) -> Floats:
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


def _sample_hairs(expected: Floats, rng: np.random.Generator) -> Floats:
    """Sample hairs, shape (n, MAX_HAIRS, 4), with the given expected number per picture."""
    shape = (len(expected), MAX_HAIRS)
    counts = rng.poisson(np.minimum(expected, MAX_HAIRS))
    angle = rng.uniform(0, 2 * np.pi, shape)
    distance = rng.uniform(-1.2, 1.2, shape)
    curvature = rng.uniform(-0.3, 0.3, shape)
    density = rng.uniform(0.05, 0.5, shape) * (np.arange(MAX_HAIRS) < counts[:, None])
    return np.stack([angle, distance, curvature, density], axis=2).astype(np.float32)
