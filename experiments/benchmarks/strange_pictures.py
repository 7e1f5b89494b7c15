"""Pictures that show no lesion, drawn by code: textures, documents, noise, flat colours and scenes.

    python experiments/benchmarks/strange_pictures.py strange/

It writes the 500 on which `novelty.py` tries the warning, to look at.
"""

import argparse
from pathlib import Path

import numpy as np
import strange_patterns as patterns
import strange_scenes as scenes

SIZES = ((200, 150), (600, 450), (150, 200), (224, 224), (64, 48), (28, 28))
KINDS = {
    "flat colour": (patterns.flat, patterns.nearly_flat, patterns.gradient, patterns.halves),
    "noise": (
        patterns.uniform_noise,
        patterns.grey_noise,
        patterns.coloured_noise,
        patterns.salt_and_pepper,
        patterns.coarse_noise,
    ),
    "texture": (
        patterns.waves,
        patterns.checks,
        patterns.bricks,
        patterns.clouds,
        patterns.wood,
        patterns.dots,
    ),
    "document": (scenes.page, scenes.printed, scenes.form, scenes.chart, scenes.screen),
    "scene": (scenes.landscape, scenes.house, scenes.face, scenes.room, scenes.heap, scenes.street_at_night),
}


def strange_pictures(count=500, random_state=0):
    """Yield (kind, picture) in turns of the five kinds; half of all colours are near those of skin."""
    rng = np.random.default_rng(random_state)
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        makers = KINDS[kind]
        size = SIZES[rng.integers(len(SIZES))]
        yield kind, makers[(number // len(KINDS)) % len(makers)](rng, size).convert("RGB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for number, (kind, picture) in enumerate(strange_pictures()):
        picture.save(folder / f"{kind.replace(' ', '_')}-{number:03}.png")


if __name__ == "__main__":
    main()
