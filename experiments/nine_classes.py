"""A folder of pictures for each of nine classes, drawn, with the shares of a published ISIC collection.

Run it as ``python experiments/nine_classes.py FOLDER``, then ``python -m skinmnist.build FOLDER --out
nine_classes.csv`` makes it a table. Seven classes are those of `make_lesions`; squamous cell carcinoma is
drawn as a larger, redder actinic keratosis, and seborrheic keratosis as a darker benign keratosis. The shares
are those that the collection is known for: seborrheic keratosis is the rarest, pigmented benign keratosis
(20.6 %) and melanoma (19.5 %) are the largest. Every picture shows a lesion of its own.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from skinmnist import facts
from skinmnist.datasets.synthetic.lesions import make_lesions

#: Share of each class, the class that it is drawn as, and the enlargement and the gain of red, green, blue.
CLASSES = {
    "actinic keratosis": (0.051, "akiec", 1.0, (1.0, 1.0, 1.0)),
    "basal cell carcinoma": (0.168, "bcc", 1.0, (1.0, 1.0, 1.0)),
    "dermatofibroma": (0.042, "df", 1.0, (1.0, 1.0, 1.0)),
    "melanoma": (0.195, "mel", 1.0, (1.0, 1.0, 1.0)),
    "nevus": (0.159, "nv", 1.0, (1.0, 1.0, 1.0)),
    "pigmented benign keratosis": (0.206, "bkl", 1.0, (1.0, 1.0, 1.0)),
    "seborrheic keratosis": (0.034, "bkl", 1.1, (0.85, 0.82, 0.8)),
    "squamous cell carcinoma": (0.081, "akiec", 1.3, (1.05, 0.93, 0.93)),
    "vascular lesion": (0.062, "vasc", 1.0, (1.0, 1.0, 1.0)),
}


def draw(count, code_name, seed, size):
    """Draw `count` pictures of one class of the synthetic table."""
    weights = dict.fromkeys(facts.CLASS_NAMES, 0.001)
    weights[code_name] = 1.0
    table = make_lesions(
        round(count * 1.05) + 60,
        class_weights=weights,
        pictures_per_lesion=1.0,
        size=size,
        random_state=seed,
    )
    rows = np.flatnonzero(table.labels == table.class_names.index(code_name))[:count]
    return table.pixels[rows].reshape(count, *table.shape)


def changed(picture, zoom, gain):
    """Enlarge the middle of a picture and multiply its channels."""
    height, width, _ = picture.shape
    image = Image.fromarray((picture * np.array(gain)).clip(0, 255).astype(np.uint8))
    if zoom == 1.0:
        return image
    left, top = (1 - 1 / zoom) * width / 2, (1 - 1 / zoom) * height / 2
    return image.resize(
        (width, height), Image.Resampling.LANCZOS, box=(left, top, width - left, height - top)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=2250)
    parser.add_argument("--size", type=int, default=56, help="side of the pictures, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for number, (name, (share, drawn_as, zoom, gain)) in enumerate(CLASSES.items()):
        folder = options.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        count = round(share * options.pictures)
        for place, picture in enumerate(draw(count, drawn_as, options.seed + number, options.size)):
            changed(picture, zoom, gain).save(folder / f"{place:04d}.png")
        print(f"{name}: {count} pictures")


if __name__ == "__main__":
    main()
