"""A table larger than memory, from the command to the report: seconds, core-seconds and peak memory.

Run it as ``python experiments/benchmarks/million_rows.py``. It runs ``python -m skinmnist.compare`` on a
synthetic table of a million pictures of 28 x 28, drawn into the cache, with one network, one linear model and
one of trees, and prints what the command printed and what it took. Memory is the largest sum of the
proportional set sizes of all its processes, mapped files included, looked at every second from outside.

``--rows`` takes other sizes; ``--limit-gb`` ends with code 1 where the peak was higher.
"""

import argparse
import os
import subprocess
import sys
import threading
import time

import psutil

MODELS = ("cnn", "logistic_regression", "hist_gradient_boosting")


def main():
    from skinmnist.experiment.execution.machine import PeakMemory

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", default="runs/million")
    parser.add_argument("--limit-gb", type=float, default=6.0)
    options = parser.parse_args()
    command = [sys.executable, "-m", "skinmnist.compare", "--synthetic", str(options.rows)]
    command += ["--models", *options.models, "--samplers", "none", "--split", "holdout"]
    command += ["--jobs", str(options.jobs), "--out", options.out, "--fresh"]
    print("$", "python", *command[1:], flush=True)
    start = time.perf_counter()
    with PeakMemory() as peak, CoreSeconds() as cores:
        code = subprocess.run(command, check=False).returncode
    wall = time.perf_counter() - start
    print(
        f"{options.rows:,} rows: {wall:.0f} s, {cores.total():.0f} core-seconds on {os.cpu_count()} cores, "
        f"peak memory {peak.megabytes:,.0f} MB ({peak.measure}), exit code {code}"
    )
    return code or int(peak.megabytes > 1000 * options.limit_gb)


class CoreSeconds:
    """Processor seconds of all processes below this one, those that end on the way included."""

    def __init__(self):
        self._seen, self._stop = {}, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()

    def total(self):
        return sum(self._seen.values())

    def _watch(self):
        while not self._stop.wait(1.0):
            for process in psutil.Process().children(recursive=True):
                try:
                    times = process.cpu_times()
                    self._seen[process.pid] = times.user + times.system
                except psutil.Error:
                    continue  # It ended between being listed and being looked at.


if __name__ == "__main__":
    sys.exit(main())
