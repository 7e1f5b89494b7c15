"""What a run ran on, and how much memory it took."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from skinmnist.experiment.execution.processes import available_cores
from skinmnist.models.cnn.variants import choose_precision

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


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that a score can depend on, where installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Describe the machine: processor, cores, memory, what networks compute with, system."""
    return {
        "cpu": _processor(),
        "cores": available_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "network_precision": choose_precision("auto"),
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class PeakMemory:
    """Watch the largest memory that a process and its children take, while in the ``with`` block.

    On Linux the proportional set sizes (PSS) are summed, which counts memory that processes share once;
    elsewhere the resident sizes, which count it in each.

    Parameters
    ----------
    children : bool
        Whether to add the processes below this one.
    interval : float
        Seconds between two looks.
    """

    def __init__(self, children: bool = True, interval: float = 1.0) -> None:
        self.children = children
        self.interval = interval
        self.megabytes = 0.0
        self.measure = "summed PSS" if children and Path("/proc/self/smaps_rollup").exists() else "summed RSS"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(self.interval):
            self._look()

    def _look(self) -> None:
        this = psutil.Process()
        family = [this, *this.children(recursive=True)] if self.children else [this]
        self.megabytes = max(self.megabytes, sum(self._sizes(family)) / 2**20)

    def _sizes(self, family: Iterable[psutil.Process]) -> Iterable[int]:
        for process in family:
            try:
                yield _pss(process.pid) if self.measure == "summed PSS" else process.memory_info().rss
            except (OSError, psutil.Error):
                continue  # It ended between being listed and being looked at.


def _pss(pid: int) -> int:
    """Return a process's proportional set size in bytes, from Linux's sum over its mappings."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
