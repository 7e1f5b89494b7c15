"""What a bug report should say of a machine, and what is known to go wrong there."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from skinmnist.datasets.cache import cache_folder
from skinmnist.experiment.execution.machine import available_cores, hardware, versions

#: Names of the variables that decide how many threads numerical libraries start, and what Keras runs on.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "KERAS_BACKEND",
    "TF_USE_LEGACY_KERAS",
    "SKINMNIST_DATA",
    "SKINMNIST_CACHE",
)
#: Instructions that decide how fast numbers are multiplied.
_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")
_MB = 2**20


@dataclass(frozen=True)
class Health:
    """What is known of this machine and of what is installed on it.

    Attributes
    ----------
    versions : dict of str to str
    cpu, system : str
    flags : tuple of str
        Those of the processor's instructions that matter here.
    precision : str
        What networks compute with.
    cores : int
        That this process may use.
    quota : float or None
        Cores that a container may use over time; None: no limit, or unknown.
    memory_mb, free_memory_mb : float
        Of the machine, or of its container where that is less.
    free_disk_mb : dict of str to float
        Of the temporary folder, the cache and the working directory; -1 where it cannot be asked.
    writable : dict of str to bool
        The same folders.
    cache : str
        The folder.
    cache_files : int
    cache_mb : float
    variables : dict of str to str
        Those of `VARIABLES` that are set.
    """

    versions: Mapping[str, str]
    cpu: str
    system: str
    flags: tuple[str, ...]
    precision: str
    cores: int
    quota: float | None
    memory_mb: float
    free_memory_mb: float
    free_disk_mb: Mapping[str, float]
    writable: Mapping[str, bool]
    cache: str
    cache_files: int
    cache_mb: float
    variables: Mapping[str, str]


def examine() -> Health:
    """Look at this machine; nothing is written but an empty temporary file, and no library is imported."""
    machine, memory, cache = hardware(), psutil.virtual_memory(), cache_folder()
    folders = {"temporary": Path(tempfile.gettempdir()), "cache": cache, "working": Path.cwd()}
    files = [path for path in cache.rglob("*") if path.is_file()] if cache.is_dir() else []
    ceiling = _container_memory()
    total = min(memory.total, ceiling or memory.total)
    return Health(
        versions=versions(),
        cpu=machine["cpu"],
        system=machine["system"],
        flags=_processor_flags(),
        precision=machine["network_precision"],
        cores=available_cores(),
        quota=_container_cores(),
        memory_mb=total / _MB,
        free_memory_mb=min(memory.available, total) / _MB,
        free_disk_mb={name: _free(folder) for name, folder in folders.items()},
        writable={name: _writable(folder) for name, folder in folders.items()},
        cache=str(cache),
        cache_files=len(files),
        cache_mb=sum(map(_size, files)) / _MB,
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # Another run has just taken it away.
        return 0


def find_troubles(health: Health) -> list[str]:
    """Return one sentence for each thing that is known to go wrong: what, and how to mend it."""
    return [sentence for check in _CHECKS if (sentence := check(health)) is not None]


def _old_python(health: Health) -> str | None:
    if (3, 11) <= _numbers(health.versions["python"]) < (3, 14):
        return None
    return f"Python {health.versions['python']} was never tested; use 3.11, 3.12 or 3.13"


def _missing_package(health: Health) -> str | None:
    needed = ("numpy", "scipy", "pandas", "scikit-learn", "imbalanced-learn", "joblib", "keras", "matplotlib")
    missing = [name for name in needed if name not in health.versions]
    if not {"tensorflow", "tensorflow-cpu"} & health.versions.keys():
        missing.append("tensorflow-cpu")
    if not missing:
        return None
    return f"{', '.join(missing)} cannot be found; install skinmnist again with -c constraints.txt"


def _other_scikit_learn(health: Health) -> str | None:
    found = health.versions.get("scikit-learn", "1.9")
    if (1, 9) <= _numbers(found) < (1, 10):
        return None
    return (
        f"scikit-learn {found}: before 1.8 its StratifiedGroupKFold shuffled wrongly, and others than 1.9 "
        "were never tested; install scikit-learn 1.9"
    )


def _two_tensorflows(health: Health) -> str | None:
    both = {name: health.versions.get(name) for name in ("tensorflow", "tensorflow-cpu")}
    if None in both.values() or len(set(both.values())) == 1:
        return None
    return (
        f"tensorflow {both['tensorflow']} and tensorflow-cpu {both['tensorflow-cpu']} are installed over "
        "each other; uninstall both, then install one"
    )


def _legacy_keras(health: Health) -> str | None:
    if health.variables.get("TF_USE_LEGACY_KERAS", "0").lower() in ("0", "", "false"):
        return None
    return "TF_USE_LEGACY_KERAS makes TensorFlow use Keras 2, which the networks do not run on; unset it"


def _other_backend(health: Health) -> str | None:
    backend = health.variables.get("KERAS_BACKEND", "tensorflow")
    if backend == "tensorflow":
        return None
    return f"KERAS_BACKEND is {backend!r}, but the networks run on tensorflow, whatever it says; unset it"


def _no_avx(health: Health) -> str | None:
    if "x86_64" not in health.system or not health.flags or "avx" in health.flags:
        return None
    return "the processor has no AVX, which TensorFlow needs: networks will crash; leave them out"


def _less_than_its_cores(health: Health) -> str | None:
    if health.quota is None or health.quota >= health.cores:
        return None
    jobs = max(1, int(health.quota))
    return f"{health.cores} cores are seen but {health.quota:g} may be used; give --jobs {jobs}"


def _little_memory(health: Health) -> str | None:
    # The main job on the 28 x 28 table takes about 3 GB with two workers, 600 MB of it for each of them.
    needed = 1800 + 600 * health.cores
    if health.free_memory_mb >= needed:
        return None
    return (
        f"{health.free_memory_mb:,.0f} MB of memory are free where {health.cores} workers with networks take "
        f"about {needed:,} MB; close something, or give a smaller --jobs"
    )


def _little_disk(health: Health) -> str | None:
    low = [name for name, free in health.free_disk_mb.items() if 0 <= free < 500]
    return f"less than 500 MB are free for the {' and '.join(low)} folder; make room" if low else None


def _read_only(health: Health) -> str | None:
    shut = [name for name, open_ in health.writable.items() if not open_]
    if not shut:
        return None
    names = " and ".join(shut)
    return f"the {names} folder cannot be written; TMPDIR, SKINMNIST_CACHE and --out may name others"


_CHECKS: tuple[Callable[[Health], str | None], ...] = (
    _old_python,
    _missing_package,
    _other_scikit_learn,
    _two_tensorflows,
    _legacy_keras,
    _other_backend,
    _no_avx,
    _less_than_its_cores,
    _little_memory,
    _little_disk,
    _read_only,
)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _processor_flags() -> tuple[str, ...]:
    for line in _lines("/proc/cpuinfo"):
        if line.lower().startswith(("flags", "features")):
            found = set(line.partition(":")[2].split())
            return tuple(flag for flag in _FLAGS if flag in found)
    return ()


def _container_cores() -> float | None:
    quota, _, period = next(iter(_lines("/sys/fs/cgroup/cpu.max")), "max 100000").partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def _container_memory() -> int | None:
    ceiling = next(iter(_lines("/sys/fs/cgroup/memory.max")), "max")
    return int(ceiling) if ceiling.isdigit() else None


def _lines(path: str) -> list[str]:
    """Return the lines of one of Linux's files about itself; none elsewhere."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    except OSError:
        return []


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest above it that is there."""
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)


def _free(folder: Path) -> float:
    try:
        return shutil.disk_usage(_existing(folder)).free / _MB
    except OSError:
        return -1.0


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return True
    except OSError:
        return False
