"""Properties of the machine: cores, versions, memory, and the memory of processes."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import psutil

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "imbalanced-learn",
    "joblib",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "matplotlib",
)
#: Environment variables for single-threaded processes; numerical libraries read them on import.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return the versions of Python and of all installed packages that can affect a score."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def hardware() -> dict[str, Any]:
    """Describe the machine: processor, cores, memory, numerical precision of networks, and system."""
    from skinmnist.models.cnn.backend import choose_precision

    return {
        "cpu": _processor(),
        "cores": available_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "network_precision": choose_precision("auto"),
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class PeakMemory:
    """Measure the peak memory of a process and its children in the ``with`` block.

    On Linux, this is the sum of proportional set sizes (PSS), which count shared memory once. On other
    systems, it is the sum of resident sizes, which count shared memory in each process. Samples are taken
    every `interval` seconds.
    """

    def __init__(self, children: bool = True, interval: float = 1.0) -> None:
        self.children = children
        self.interval = interval
        self.megabytes = 0.0
        self.measure = "summed PSS" if children and Path("/proc/self/smaps_rollup").exists() else "summed RSS"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_often, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _sample_often(self) -> None:
        while not self._stop.wait(self.interval):
            self._sample()

    def _sample(self) -> None:
        self.megabytes = max(self.megabytes, sum(self._sizes()) / 2**20)

    def _sizes(self) -> Iterator[int]:
        this = psutil.Process()
        for process in [this, *this.children(recursive=True)] if self.children else [this]:
            with suppress(psutil.Error):  # The process has just ended.
                pss = self.measure == "summed PSS"
                yield process.memory_full_info().pss if pss else process.memory_info().rss
