"""How often the warning of novel pictures comes: on held-out lesions, and on pictures that show none.

    python experiments/benchmarks/novelty.py data/hmnist_28_28_RGB.csv [more tables]

Five folds by lesion; everything is learnt on the lesions of the other four. Each of the 500 pictures of
`strange_pictures` is judged in every fold. The last two rows are held-out lesions that were spoilt: red and
blue swapped, as peers' readers do, and negatives. No target is set on these.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from strange_pictures import strange_pictures

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.inference.novelty import fit_novelty, novelty_score

FOLDS = 5


def strange_rows(shape):
    """Return kinds and rows of the pictures that show no lesion."""
    made = [(kind, picture_row(open_picture(picture), shape)) for kind, picture in strange_pictures()]
    return np.array([kind for kind, _ in made]), np.stack([row for _, row in made])


def judge(path):
    table = load_hmnist(path)
    kinds, strange = strange_rows(table.shape)
    lesions = np.unique(table.lesion_ids, return_inverse=True)[1]
    fold_of = np.random.default_rng(0).permutation(lesions.max() + 1)[lesions] % FOLDS
    flagged: dict[str, list[float]] = {}
    for fold in range(FOLDS):
        train, test = fold_of != fold, table.pixels[fold_of == fold]
        arrays = fit_novelty(table.pixels[train], table.shape, lesions[train])

        def beyond(rows, arrays=arrays):
            return novelty_score(rows, table.shape, arrays) > 1

        start = time.process_time()
        found = {"held-out lesions": beyond(test)}
        seconds = time.process_time() - start
        odd = beyond(strange)
        found |= {f"  {kind}": odd[kinds == kind] for kind in dict.fromkeys(kinds.tolist())}
        found["no lesions, all"] = odd
        pictures = test.reshape(-1, *table.shape)
        found["red and blue swapped"] = beyond(pictures[..., ::-1].reshape(len(test), -1))
        found["negatives"] = beyond(255 - test)
        for name, values in found.items():
            flagged.setdefault(name, []).append(100 * values.mean())
    size = sum(values.nbytes for values in arrays.values()) / 1000
    print(f"{table.name}: {len(test) / seconds:,.0f} pictures per core-second, {size:,.0f} kB")
    print(f"{'':24}mean %  least  most of {FOLDS} folds")
    for name, values in flagged.items():
        print(f"{name:24}{np.mean(values):6.1f} {min(values):6.1f} {max(values):5.1f}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python experiments/benchmarks/novelty.py CSV [CSV ...]")
    for argument in sys.argv[1:]:
        judge(argument)
