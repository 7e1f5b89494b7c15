"""Flat colours, noise and textures, each from a random generator and a size (width, height)."""

import numpy as np
from PIL import Image, ImageDraw

SKIN = np.array([195, 150, 140])


def colour(rng):
    """Return any colour, or one near that of skin."""
    if rng.random() < 0.5:
        return rng.integers(0, 256, 3)
    return np.clip(SKIN + rng.normal(0, 30, 3) + rng.normal(0, 15), 0, 255).astype(int)


def as_fill(values):
    return tuple(int(value) for value in values)


def mixed(share, first, second):
    """Mix two colours by shares of shape (height, width) from 0 to 1."""
    share = np.clip(share, 0, 1)[:, :, None]
    return Image.fromarray(np.rint(first * (1 - share) + second * share).astype(np.uint8))


def grid(size):
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    return y / size[1], x / size[0]


# Flat colours


def flat(rng, size):
    return Image.new("RGB", size, as_fill(colour(rng)))


def nearly_flat(rng, size):
    levels = colour(rng) + rng.normal(0, rng.uniform(0.5, 3), (size[1], size[0], 3))
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def gradient(rng, size):
    y, x = grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    return mixed(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), colour(rng), colour(rng))


def halves(rng, size):
    y, x = grid(size)
    return mixed(((x if rng.random() < 0.5 else y) > rng.uniform(0.2, 0.8)) * 1.0, colour(rng), colour(rng))


# Noise


def uniform_noise(rng, size):
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))


def grey_noise(rng, size):
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0])).astype(np.uint8))


def coloured_noise(rng, size):
    levels = colour(rng) + rng.normal(0, rng.uniform(20, 80), (size[1], size[0], 3))
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def salt_and_pepper(rng, size):
    return mixed((rng.random((size[1], size[0])) < rng.uniform(0.02, 0.5)) * 1.0, colour(rng), colour(rng))


def coarse_noise(rng, size):
    side = int(rng.integers(4, 29))
    small = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling(int(rng.choice([0, 2, 3]))))


# Textures


def waves(rng, size):
    y, x = grid(size)
    angle, waves = rng.uniform(0, np.pi), rng.uniform(2, 25)
    share = 0.5 + 0.5 * np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)))
    return mixed(np.round(share) if rng.random() < 0.5 else share, colour(rng), colour(rng))


def checks(rng, size):
    y, x = grid(size)
    count = rng.integers(2, 16)
    return mixed((np.floor(y * count) + np.floor(x * count)) % 2, colour(rng), colour(rng))


def bricks(rng, size):
    image = Image.new("RGB", size, as_fill(colour(rng)))
    pen, rows = ImageDraw.Draw(image), int(rng.integers(4, 12))
    height, fill = size[1] / rows, as_fill(colour(rng))
    for row in range(rows):
        for column in range(-1, rows):
            left = (column + 0.5 * (row % 2)) * 2 * height
            pen.rectangle((left + 1, row * height + 1, left + 2 * height - 1, (row + 1) * height - 1), fill)
    return image


def clouds(rng, size):
    share = np.zeros((size[1], size[0]))
    for side in (2, 4, 8, 16, 32):
        coarse = Image.fromarray((rng.random((side, side)) * 255).astype(np.uint8))
        share += np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) / 255 / np.sqrt(side)
    return mixed((share - share.min()) / (share.max() - share.min()), colour(rng), colour(rng))


def wood(rng, size):
    y, x = grid(size)
    bent = x + 0.1 * np.sin(2 * np.pi * (y * rng.uniform(0.5, 2) + rng.random()))
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(4, 15) * np.hypot(bent - rng.uniform(-1, 2), 0.2 * y))
    return mixed(rings, np.array([120, 75, 40]), np.array([190, 140, 95]))


def dots(rng, size):
    y, x = grid(size)
    count, radius = rng.integers(3, 14), rng.uniform(0.15, 0.45)
    inside = np.hypot(y * count % 1 - 0.5, x * count % 1 - 0.5) < radius
    return mixed(inside * 1.0, colour(rng), colour(rng))
