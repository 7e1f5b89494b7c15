"""How long a pixel table takes to load: parsed from the CSV, and from the cache.

    python experiments/benchmarks/loading.py data/hmnist_28_28_RGB.csv [repeats]

Prints medians and ranges over the repeats (5 by default); each first load has an empty cache of its own in
a temporary folder, and each is followed by one second load. The file itself stays in the memory of the
operating system, as after a copy or a download.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

from skinmnist.datasets.hmnist import load_hmnist


def clock(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall and the processor seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def report(title: str, seconds: list[tuple[float, float]]) -> None:
    for kind, values in zip(("wall", "processor"), zip(*seconds, strict=True), strict=True):
        low, middle, high = (1000 * value for value in (min(values), median(values), max(values)))
        print(f"{title}, {kind}: median {middle:.1f} ms ({low:.1f} to {high:.1f})")


def main(path: str, repeats: int) -> None:
    first, second = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            os.environ["SKINMNIST_CACHE"] = folder
            first.append(clock(lambda: load_hmnist(path)))
            second.append(clock(lambda: load_hmnist(path)))
            description = repr(load_hmnist(path))
    print(f"{path}: {description}, {repeats} repeats")
    report("first load", first)
    report("second load", second)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python experiments/benchmarks/loading.py CSV [repeats]")
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 5)
