"""``python -m skinmnist.report``: write the page of run folders again, without training anything."""

from __future__ import annotations

import argparse

from skinmnist.console.common import guarded, say
from skinmnist.console.parser import command_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "report",
        "Write report.html of a run folder again from what is stored in it, or one page that "
        "sets several runs side by side; nothing is trained.",
        (
            "runs/hmnist_28_28_RGB-0",
            "runs/hmnist_28_28_RGB-0 --out elsewhere",
            "runs/hmnist_28_28_RGB-0 runs/hmnist_28_28_RGB-1 --out both.html",
        ),
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="a folder that skinmnist.compare has written")
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="where to write: a folder for the page and its tables, which leaves the run's own folder as it "
        "is, or an .html file for the page alone (default: of one run, its folder; of several, runs.html)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Parse, call, print."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _rebuild(options.runs, options.out))


def _rebuild(runs: list[str], out: str | None) -> int:
    from skinmnist.console.progress import working
    from skinmnist.experiment.execution.machine import available_cores
    from skinmnist.reporting.page import write_report
    from skinmnist.reporting.side_by_side import RUNS_FILE, write_side_by_side

    with working("Writing the report"):
        if len(runs) > 1:
            page = write_side_by_side(runs, out or RUNS_FILE)
        else:
            page = write_report(runs[0], out, jobs=available_cores())
    say(page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
