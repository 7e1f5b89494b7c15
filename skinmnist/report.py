"""``python -m skinmnist.report``: rewrite the reports of run folders without training."""

from __future__ import annotations

import argparse

from skinmnist.console.common import command_parser, guarded, say

_PAGE = "skinmnist.reporting.page"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "report",
        "Rewrite report.html of a run folder from its stored results, or write one page that "
        "shows several runs side by side. Nothing is trained.",
        (
            "runs/hmnist_28_28_RGB-0",
            "runs/hmnist_28_28_RGB-0 --out elsewhere",
            "runs/hmnist_28_28_RGB-0 runs/hmnist_28_28_RGB-1 --out both.html",
            "runs/hmnist_28_28_RGB-0 --export paper",
        ),
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="a folder written by `skinmnist compare`")
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="where to write: a folder for the page and its tables, so that the run folder stays "
        "unchanged, or an .html file for only the page (default: the run folder, or runs.html for several)",
    )
    parser.add_argument(
        "--export",
        metavar="DIR",
        help="also write every table (CSV, Markdown, LaTeX) and figure (SVG, PDF) of the page, a paragraph "
        "of methods and the references into a folder",
    )
    parser.add_argument(
        "--mlflow",
        metavar="URI",
        help="also log parameters, scores and the page to MLflow, as in http://localhost:5000 (needs the "
        "extra mlflow)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _rebuild(options))


def _rebuild(options: argparse.Namespace) -> int:
    from skinmnist.experiment.execution.local import start_workers
    from skinmnist.experiment.execution.machine import available_cores
    from skinmnist.experiment.execution.worker import import_frozen, uncollected

    cores = available_cores()
    # While this process imports, reads and analyzes, a worker imports what it needs for drawing.
    if cores > 1 and len(options.runs) == 1:
        start_workers([_PAGE])
    import_frozen([_PAGE])
    with uncollected():
        return _write(options, cores)


def _write(options: argparse.Namespace, cores: int) -> int:
    from skinmnist.console.progress import working
    from skinmnist.errors import InputError
    from skinmnist.experiment.run_folder.record import RunRecord, read_run
    from skinmnist.reporting.page import write_report
    from skinmnist.reporting.side_by_side import RUNS_FILE, write_side_by_side

    runs, out = options.runs, options.out
    if len(runs) > 1:
        if options.export or options.mlflow:
            raise InputError(
                f"received {len(runs)} runs; expected one with --export or --mlflow, so name a single run"
            )
        with working("Writing the report"):
            page = write_side_by_side(runs, out or RUNS_FILE)
        say(page)
        return 0
    run: RunRecord = read_run(runs[0])
    if options.export:  # `Run` caches its analysis for both the page and the export.
        from skinmnist.console.run import Run

        run = Run.of(run)
    with working("Writing the report"):
        page = write_report(run, out, jobs=cores)
    say(page)
    if options.export:
        from skinmnist.reporting.export import export_report

        with working("Writing tables and figures"):
            folder = export_report(run, options.export)
        say(folder)
    if options.mlflow:
        from skinmnist.reporting.export import log_to_mlflow

        say(f"MLflow run {log_to_mlflow(run, page, options.mlflow)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
