"""``python -m skinmnist.doctor``: what a bug report should say of this machine, and what goes wrong on it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from skinmnist import __version__
from skinmnist.console.common import guarded

if TYPE_CHECKING:
    from skinmnist.experiment.execution.health import Health

TROUBLED = 1


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this door's arguments."""
    return argparse.ArgumentParser(
        prog="python -m skinmnist.doctor",
        description="Print versions, processor, threads, memory, cache and known bad combinations, for bug "
        "reports. Exit code 1: something here is known to go wrong.",
    )


def main(arguments: list[str] | None = None) -> int:
    """Parse, call, print."""
    build_parser().parse_args(arguments)
    return guarded(_report)


def _report() -> int:
    from skinmnist.experiment.execution.health import examine, find_troubles

    health = examine()
    print(f"skinmnist {__version__}")
    for title, facts in _sections(health).items():
        print(f"\n{title}")
        for name, value in facts.items():
            print(f"  {name:<22}{value}")
    troubles = find_troubles(health)
    print("\nKnown troubles")
    print("\n".join(f"  - {trouble}" for trouble in troubles) or "  none")
    return TROUBLED if troubles else 0


def _sections(health: Health) -> dict[str, dict[str, str]]:
    """Lay out what was found, in words."""
    disk = {
        f"{name} folder": f"{health.free_disk_mb[name]:,.0f} MB free"
        f"{'' if health.writable[name] else ', cannot be written'}"
        for name in health.free_disk_mb
    }
    quota = "" if health.quota is None else f", {health.quota:g} of them over time"
    return {
        "Versions": dict(health.versions),
        "Machine": {
            "system": health.system,
            "processor": health.cpu,
            "instructions": " ".join(health.flags) or "unknown",
            "networks compute in": health.precision,
            "cores": f"{health.cores}{quota}",
            "threads of a cell": "1",
            "memory": f"{health.memory_mb:,.0f} MB, {health.free_memory_mb:,.0f} MB free",
        },
        "Disk": disk | {"cache": f"{health.cache_files} files, {health.cache_mb:,.0f} MB, {health.cache}"},
        "Variables": dict(health.variables) or {"none": "set"},
    }


if __name__ == "__main__":
    raise SystemExit(main())
