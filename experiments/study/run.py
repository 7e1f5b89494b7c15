"""Run the reference study, part by part, and keep its small results.

python experiments/study/run.py [--parts NAME ...] [--out runs/study] [--jobs N] [--dask ADDRESS]

Every part of `plan.toml` is one run folder. A run that was interrupted goes on where it stopped; a part whose
cells all have an outcome is skipped; a cell that fails is a row with its reason. After each part the results
are read again, and results.csv, subgroups.csv, intervals.csv and parts.csv beside this file are replaced.
`--retry` runs the failed cells of finished parts once more, and `--collect` only reads the run folders.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from collect import collect, failures
from parts import PLAN, Part, read_plan

from skinmnist import run_comparison
from skinmnist.console.common import FAILED_CELLS, guarded
from skinmnist.errors import InputError
from skinmnist.experiment.plan import choose_jobs, make_plan
from skinmnist.experiment.run_folder.record import read_info
from skinmnist.experiment.splits import choose_folds
from skinmnist.names import did_you_mean
from skinmnist.reporting.format import count, duration

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if a cell failed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--parts", nargs="+", metavar="NAME", help="parts or groups of the plan (default: all)"
    )
    parser.add_argument("--plan", type=Path, default=PLAN, metavar="FILE", help="another plan")
    parser.add_argument("--out", type=Path, default=Path("runs/study"), help="folder of the run folders")
    parser.add_argument("--results", type=Path, default=HERE, metavar="DIR", help="where the results go")
    parser.add_argument("--jobs", type=int, metavar="N", help="worker processes (default: one per core)")
    parser.add_argument("--dask", metavar="ADDRESS", help="scheduler of a Dask cluster, or local")
    parser.add_argument("--retry", action="store_true", help="run failed cells of finished parts again")
    parser.add_argument("--collect", action="store_true", help="only read the run folders")
    options = parser.parse_args(arguments)
    return guarded(lambda: _study(options))


def _study(options: argparse.Namespace) -> int:
    plan = read_plan(options.plan)
    chosen = choose(plan, options.parts)
    options.results.mkdir(parents=True, exist_ok=True)
    if options.collect:
        return _collect(plan, options)
    waiting = [part for part in chosen if not _is_done(part, options)]
    _announce(chosen, waiting, options)
    for number, part in enumerate(waiting, 1):
        print(f"[{number}/{len(waiting)}] {part.name}", flush=True)
        run_part(part, options.out / part.name, options.jobs, options.dask)
        collect(plan, options.out).write(options.results)
    return _collect(plan, options)


def choose(plan: Sequence[Part], names: Sequence[str] | None) -> list[Part]:
    """Return the parts with these names or groups, in the order of the plan."""
    known = dict.fromkeys(name for part in plan for name in (part.group, part.name))
    for name in names or ():
        if name not in known:
            raise InputError(f"the plan has no part {name!r}{did_you_mean(name, list(known))}")
    return [part for part in plan if not names or {part.name, part.group} & set(names)]


def _is_done(part: Part, options: argparse.Namespace) -> bool:
    if not part.is_finished(options.out / part.name):
        return False
    info = read_info(options.out / part.name)
    failed = info is not None and any(entry.status == "failed" for entry in part.entries(info))
    return not (failed and options.retry)


def run_part(part: Part, folder: Path, jobs: int | None = None, dask: str | None = None) -> None:
    """Run one part, or go on with it; failed cells are rows of its record."""
    run_comparison(
        part.open(),
        part.samplers,
        part.models,
        folds=part.folds,
        repeats=part.repeats,
        split=part.split if part.split != "lesion" else None,
        seed=part.seed,
        ensembles=part.ensembles,
        jobs=jobs,
        dask=dask,
        out=folder,
        progress=sys.stderr.isatty(),
    )


def _announce(chosen: Sequence[Part], waiting: Sequence[Part], options: argparse.Namespace) -> None:
    """Say how many cells are left and about how long they take."""
    print(f"{count(len(chosen), 'part')}, of which {len(chosen) - len(waiting)} finished", flush=True)
    jobs, cells, seconds = choose_jobs(options.jobs, None), 0, 0.0
    for part in waiting:
        left, needed = expected(part, options.out / part.name)
        cells, seconds = cells + left, seconds + needed
    if waiting:
        print(
            f"{count(cells, 'cell')} to run, about {duration(seconds / jobs)} with "
            f"{count(jobs, 'process', 'processes')} (an estimate; more on a busy machine)",
            flush=True,
        )


def expected(part: Part, folder: Path) -> tuple[int, float]:
    """Return the number of cells without an outcome, and an estimate of their core-seconds."""
    table = part.open()
    split = part.split if part.split != "lesion" else None
    folds, drawn = choose_folds(table, None, part.folds, part.repeats, split, part.seed, None)
    plan = make_plan(
        table, part.samplers, part.models, folds, part.repeats, drawn, part.seed, None, (), part.ensembles
    )
    info = read_info(folder)
    ended = {entry.cell for entry in info.cells if entry.status == "done"} if info else set()
    costs = plan.expected_seconds(table)
    left = [cell for cell in plan.cells if cell not in ended]
    return len(left), sum(costs.get(cell, 0.0) for cell in left)


def _collect(plan: Sequence[Part], options: argparse.Namespace) -> int:
    """Write the results of all parts with a run folder; return the exit code."""
    found = collect(plan, options.out)
    found.write(options.results)
    counts = found.parts.reindex(columns=["cells", "done", "failed"]).sum()
    cells, done, failed = (int(number) for number in counts)
    print(
        f"{count(done, 'cell')} done, {failed} failed, {cells - done - failed} pending: {options.results}",
        flush=True,
    )
    for part, sampler, model, reason, cells in failures(found.results):
        print(f"  {part}: {sampler} with {model}, {count(cells, 'cell')}: {reason}", flush=True)
    return FAILED_CELLS if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
