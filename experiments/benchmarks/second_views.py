"""Second pictures of one lesion under another lesion id: how many known ones are found, and at what price?

    SKINMNIST_DATA=FOLDER python experiments/benchmarks/second_views.py [CSV ...]

Pairs of different lesion ids that `find_second_views` scores are counted from several thresholds on: those
known to show one lesion (Abhishek et al. 2025, `facts.SAME_LESION`), the others, how many of these agree in
diagnosis, age, sex and site (by chance few do), and the number of false ones that is to be expected. It
follows from pairs of different diagnoses, which are surely false, and from their share among all candidates;
so the threshold can be chosen without the known pairs.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from skinmnist import facts, load_hmnist
from skinmnist.datasets.near_duplicates import STANDS_OUT, score_pairs


def main(path):
    table = load_hmnist(path)
    metadata = pd.read_csv(path.parent / facts.METADATA_FILE, dtype=str, keep_default_na=False)
    start = time.perf_counter()
    pairs, scores = score_pairs(table, np.arange(len(table)))
    print(
        f"{path.name}: {len(pairs):,} candidates in {time.perf_counter() - start:.1f} s; from {STANDS_OUT} on"
    )
    print(f"{'from':>5} {'known':>6} {'others':>7} {'agree':>6} {'expected false':>15}")
    row_of = {name: row for row, name in enumerate(metadata["image_id"])}
    known = {tuple(sorted(row_of[f"ISIC_{number:07d}"] for number in pair)) for pair in facts.SAME_LESION}
    is_known = np.array([tuple(pair) in known for pair in pairs.tolist()])

    def same(column):
        values = metadata[column].to_numpy()
        return values[pairs[:, 0]] == values[pairs[:, 1]]

    apart, one_dx = ~same("lesion_id"), same("dx")
    agree = one_dx & same("age") & same("sex") & same("localization")
    share = np.mean(~one_dx[apart])
    for least in np.arange(3.6, 5.05, 0.1):
        found = apart & (scores >= least)
        others = found & ~is_known
        false = np.count_nonzero(found & ~one_dx) / share
        counts = (np.count_nonzero(chosen) for chosen in (found & is_known, others, others & agree))
        print("{:5.1f} {:6d} {:7d} {:6d} {:15.1f}".format(least, *counts, false))


if __name__ == "__main__":
    folder = Path(os.environ.get("SKINMNIST_DATA", "data"))
    for name in map(Path, sys.argv[1:] or [folder / name for name in facts.TABLE_FILES]):
        main(name)
