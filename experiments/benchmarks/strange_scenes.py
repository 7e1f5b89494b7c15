"""Documents and scenes, each from a random generator and a size (width, height)."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from strange_patterns import SKIN, as_fill, colour, grid, mixed

# Documents


def page(rng, size):
    image = Image.new("RGB", size, as_fill(rng.integers(225, 256, 3)))
    pen, line = ImageDraw.Draw(image), max(2, size[1] // int(rng.integers(10, 30)))
    for top in range(line, size[1] - line, 2 * line):
        left = size[0] * 0.08
        while left < size[0] * rng.uniform(0.6, 0.95):
            word = size[0] * rng.uniform(0.03, 0.12)
            pen.rectangle((left, top, left + word, top + line * 0.6), as_fill(rng.integers(0, 90, 3)))
            left += word + size[0] * 0.02
    return image


def printed(rng, size):
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for top in range(4, size[1], 14):
        letters = "".join(chr(code) for code in rng.integers(97, 123, 60))
        pen.text((6, top), letters[: int(rng.integers(10, 60))], fill="black")
    return image


def form(rng, size):
    image = Image.new("RGB", size, "white")
    pen, rows, columns = ImageDraw.Draw(image), int(rng.integers(3, 12)), int(rng.integers(2, 6))
    for row in range(rows + 1):
        pen.line((0, row * size[1] / rows, size[0], row * size[1] / rows), "black")
    for column in range(columns + 1):
        pen.line((column * size[0] / columns, 0, column * size[0] / columns, size[1]), "black")
    return image


def chart(rng, size):
    image = Image.new("RGB", size, "white")
    pen, bars = ImageDraw.Draw(image), int(rng.integers(3, 12))
    for bar in range(bars):
        top, left = size[1] * rng.uniform(0.1, 0.9), size[0] * (0.1 + 0.85 * bar / bars)
        pen.rectangle((left, top, left + size[0] * 0.6 / bars, size[1] * 0.92), as_fill(colour(rng)))
    return image


def screen(rng, size):
    image = Image.new("RGB", size, as_fill(rng.integers(15, 45, 3)))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, size[0], size[1] * 0.1), as_fill(rng.integers(60, 256, 3)))
    for top in range(int(size[1] * 0.15), size[1], max(3, size[1] // 20)):
        indent = size[0] * 0.05 * rng.integers(1, 5)
        pen.line(
            (indent, top, indent + size[0] * rng.uniform(0.1, 0.6), top), as_fill(rng.integers(90, 256, 3))
        )
    return image


# Scenes


def landscape(rng, size):
    width, height = size
    y, _ = grid(size)
    image = mixed(y * 1.5, np.array([80, 140, 220]), np.array([225, 235, 245]))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 6))):
        peak, foot = rng.uniform(0, width), height * rng.uniform(0.5, 0.8)
        fill = as_fill(rng.integers(40, 140, 3))
        pen.polygon(
            [(peak - width * 0.4, foot), (peak, height * rng.uniform(0.2, 0.5)), (peak + width * 0.4, foot)],
            fill,
        )
    pen.rectangle((0, height * 0.7, width, height), as_fill(rng.integers([20, 90, 20], [90, 170, 80])))
    return image


def house(rng, size):
    width, height = size
    image = landscape(rng, size)
    pen = ImageDraw.Draw(image)
    left, top, right = (
        width * rng.uniform(0.1, 0.3),
        height * rng.uniform(0.35, 0.5),
        width * rng.uniform(0.6, 0.9),
    )
    pen.rectangle((left, top, right, height * 0.9), as_fill(colour(rng)))
    pen.polygon(
        [(left, top), ((left + right) / 2, top - height * 0.25), (right, top)],
        as_fill(rng.integers(60, 180, 3)),
    )
    pen.rectangle(
        (left + width * 0.06, top + height * 0.08, left + width * 0.16, top + height * 0.2), "lightyellow"
    )
    return image


def face(rng, size):
    width, height = size
    image = Image.new("RGB", size, as_fill(rng.integers(0, 256, 3)))
    pen = ImageDraw.Draw(image)
    pen.ellipse(
        (width * 0.2, height * 0.08, width * 0.8, height * 0.98), as_fill(SKIN + rng.integers(-40, 40))
    )
    pen.pieslice(
        (width * 0.17, height * 0.03, width * 0.83, height * 0.8), 180, 360, as_fill(rng.integers(10, 120, 3))
    )
    pen.ellipse(
        (width * 0.24, height * 0.25, width * 0.76, height * 0.95), as_fill(SKIN + rng.integers(-20, 20))
    )
    for eye in (0.38, 0.62):
        pen.ellipse((width * (eye - 0.06), height * 0.43, width * (eye + 0.06), height * 0.51), "white")
        pen.ellipse((width * (eye - 0.025), height * 0.44, width * (eye + 0.025), height * 0.5), "black")
    pen.ellipse((width * 0.4, height * 0.7, width * 0.6, height * 0.77), (170, 60, 70))
    return image


def room(rng, size):
    width, height = size
    image = Image.new("RGB", size, as_fill(colour(rng)))
    pen = ImageDraw.Draw(image)
    pen.polygon(
        [(0, height), (width * 0.2, height * 0.65), (width * 0.8, height * 0.65), (width, height)],
        as_fill(colour(rng)),
    )
    for _ in range(int(rng.integers(3, 9))):
        left, top = width * rng.uniform(0, 0.8), height * rng.uniform(0, 0.8)
        box = (left, top, left + width * rng.uniform(0.08, 0.35), top + height * rng.uniform(0.08, 0.35))
        pen.rectangle(box, as_fill(rng.integers(0, 256, 3)), outline="black")
    return image


def heap(rng, size):
    width, height = size
    image = Image.new("RGB", size, as_fill(colour(rng)))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(6, 30))):
        across, down, radius = width * rng.random(), height * rng.random(), height * rng.uniform(0.05, 0.25)
        pen.ellipse(
            (across - radius, down - radius, across + radius, down + radius), as_fill(rng.integers(0, 256, 3))
        )
    return image


def street_at_night(rng, size):
    image = Image.new("RGB", size, as_fill(rng.integers(0, 30, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(10, 60))):
        across, down, radius = (
            size[0] * rng.random(),
            size[1] * rng.random(),
            size[1] * rng.uniform(0.01, 0.05),
        )
        pen.ellipse(
            (across - radius, down - radius, across + radius, down + radius),
            as_fill(rng.integers(120, 256, 3)),
        )
    return image.filter(ImageFilter.GaussianBlur(size[1] * 0.01))
