"""``python -m skinmnist.doctor``: describe this machine and its known problems for a bug report."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from skinmnist import __version__
from skinmnist.console.common import command_parser, guarded, say

NEEDED = ("numpy", "scipy", "pandas", "scikit-learn", "imbalanced-learn", "keras", "tensorflow", "matplotlib")
#: Keras and TensorFlow variables are not listed: `skinmnist.models.cnn.backend` overrides them.
VARIABLES = ("OMP_NUM_THREADS", "SKINMNIST_DATA", "SKINMNIST_CACHE", "TMPDIR")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    return command_parser(
        "doctor",
        "Print what a bug report needs. Exit code 1: this machine has a known problem.",
        ("",),
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    build_parser().parse_args(arguments)
    return guarded(_report)


def _report() -> int:
    facts = examine()
    problems = find_problems(facts)
    say(f"skinmnist {__version__}")
    for name, value in facts.items():
        for key, item in value.items() if isinstance(value, dict) else [(name, value)]:
            say(f"  {key:<24}{f'{item:,}' if type(item) is int else item}")
    for line in ("Known problems", *(f"  - {problem}" for problem in problems or ["none"])):
        say(line)
    return int(bool(problems))


def examine() -> dict[str, Any]:
    """Describe this machine; folders that are not writable count as full."""
    import psutil

    from skinmnist.datasets.cache import cache_folder
    from skinmnist.datasets.hmnist import find_table
    from skinmnist.errors import InputError
    from skinmnist.experiment.execution.machine import hardware, versions

    machine, memory = hardware(), psutil.virtual_memory()
    quota, _, period = _system_file("/sys/fs/cgroup/cpu.max", "max").strip().partition(" ")
    ceiling = _system_file("/sys/fs/cgroup/memory.max", "max").strip()
    total = memory.total if ceiling == "max" else min(memory.total, int(ceiling))
    folders = {"temporary": Path(tempfile.gettempdir()), "cache": cache_folder(), "working": Path.cwd()}
    try:
        table: object = find_table() or "none found; a synthetic table is used"
    except InputError as error:
        table = error
    return {
        "versions": versions(),
        "system": machine["system"],
        "processor": machine["cpu"],
        "AVX": " avx " in _system_file("/proc/cpuinfo", " avx ") or "x86_64" not in machine["system"],
        "network precision": machine["network_precision"],
        "cores": machine["cores"],
        "cores over time": machine["cores"] if quota == "max" else int(quota) / int(period),
        "memory (MB)": total // 2**20,
        "free memory (MB)": min(memory.available, total) // 2**20,
        "disk": {f"{name} folder (MB)": _free(folder) for name, folder in folders.items()},
        "data": table,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _system_file(path: str, default: str) -> str:
    """Return the contents of a Linux system file, or the default on other systems."""
    return Path(path).read_text(encoding="utf-8") if Path(path).is_file() else default


def _free(folder: Path) -> int:
    """Return the free MB in a folder or its nearest existing parent; 0 if it is not writable."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free // 2**20 if os.access(there, os.W_OK) else 0


def find_problems(facts: dict[str, Any]) -> list[str]:
    """Return one sentence for each known problem, with its cause and fix."""
    versions = facts["versions"]
    cores, quota, free = facts["cores"], facts["cores over time"], facts["free memory (MB)"]
    tensorflow = sorted({versions[name] for name in ("tensorflow", "tensorflow-cpu") if name in versions})
    missing = ", ".join(name for name in NEEDED if not {name, f"{name}-cpu"} & versions.keys())
    python, learn = versions["python"], versions.get("scikit-learn", "1.9.")
    tested = python.startswith(("3.11.", "3.12.", "3.13."))
    memory = 1800 + 600 * cores  # Memory required by the default comparison on the 28x28 table.
    full = " and ".join(name for name, space in facts["disk"].items() if space < 500)
    checks = {
        f"Python {python} is untested; use 3.11, 3.12 or 3.13": not tested,
        f"{missing} not found; reinstall skinmnist with -c constraints.txt": missing,
        f"scikit-learn {learn} is untested (before 1.8, StratifiedGroupKFold shuffled wrongly); "
        "install scikit-learn 1.9": not learn.startswith("1.9."),
        f"TensorFlow {' and '.join(tensorflow)} overwrite each other; uninstall one": len(tensorflow) > 1,
        "the processor has no AVX, which TensorFlow needs; do not use networks": not facts["AVX"],
        f"{cores} cores are visible, but only {quota:g} may be used; pass --jobs {max(1, int(quota))}": quota
        < cores,
        f"{free:,} MB of memory are free, but {cores} workers with networks take about {memory:,} MB; "
        "close other programs, or pass a smaller --jobs": free < memory,
        f"{full}: read-only or nearly full; free some space, or set TMPDIR, SKINMNIST_CACHE or --out": full,
    }
    return [sentence for sentence, holds in checks.items() if holds]


if __name__ == "__main__":
    raise SystemExit(main())
