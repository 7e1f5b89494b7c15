"""A folder of drawn pictures with metadata in the layout of HAM10000, of any size.

Run it as ``python experiments/drawn_ham10000.py FOLDER``, then ``python -m skinmnist.build FOLDER --out
drawn_75_100.csv --size 75x100`` makes it a table. The pictures are those of `make_lesions`, with lesions that
were photographed more than once.
"""

import argparse
import csv
from pathlib import Path

from PIL import Image

from skinmnist import facts
from skinmnist.datasets.synthetic.lesions import make_lesions


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--height", type=int, default=90)
    parser.add_argument("--width", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = make_lesions(options.pictures, size=(options.height, options.width), random_state=options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    for pixels, name in zip(table.pixels, table.image_ids, strict=True):
        Image.fromarray(pixels.reshape(table.shape)).save(options.folder / f"{name}.png")
    with (options.folder / facts.METADATA_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["lesion_id", "image_id", "dx", *table.clinical])
        for row, label in enumerate(table.labels):
            known = (values[row] for values in table.clinical.values())
            writer.writerow([table.lesion_ids[row], table.image_ids[row], table.class_names[label], *known])
    print(f"{options.folder}: {len(table):,} pictures of {options.height} x {options.width} pixels")


if __name__ == "__main__":
    main()
