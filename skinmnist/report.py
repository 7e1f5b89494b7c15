"""``python -m skinmnist.report``: write the report of a run folder again, without training anything."""

from __future__ import annotations

import argparse

from skinmnist.doors import guarded


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this door's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m skinmnist.report",
        description="Write report.html of run folders again from what is stored in them; nothing is trained.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="a folder that skinmnist.compare has written")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Parse, call, print."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _rebuild(options.runs))


def _rebuild(runs: list[str]) -> int:
    from skinmnist.reporting.html import write_report

    for run in runs:
        print(write_report(run))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
