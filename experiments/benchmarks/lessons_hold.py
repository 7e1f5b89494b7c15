"""Print whether the lessons' claims hold: on drawn tables of several seeds, and on every CSV given.

nice python experiments/benchmarks/lessons_hold.py [CSV ...] [--seeds 1 2 3 4 5] [--lessons 6 8]

A table of lesson by table with the claims that held, the core seconds of each lesson, then every claim with
the margin that it asks for and the values that it met. All lessons run in one process, one after the other.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd


def run(slug: str, table: str) -> dict:
    """Run a lesson on a CSV, or on the drawn table of a seed."""
    from skinmnist.teaching.lesson import FOLDER, read_lesson, run_lesson

    drawn = table.isdecimal()
    os.environ["SKINMNIST_DATA"] = "" if drawn else table
    started = time.process_time()
    done = run_lesson(read_lesson(FOLDER / f"{slug}.py"), seed=int(table) if drawn else 0)
    return {
        "lesson": slug,
        "table": f"seed {table}" if drawn else Path(table).name,
        "claims": [(one.sentence, one.relation, one.bound, one.value, one.holds) for one in done.claims],
        "failure": done.failure,
        "seconds": time.process_time() - started,
    }


def main() -> int:
    """Parse, run, print; 1 where a claim does not hold."""
    from skinmnist.experiment.execution.machine import ONE_THREAD
    from skinmnist.teaching.lesson import find_lessons

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tables", metavar="CSV", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--lessons", type=int, nargs="*")
    options = parser.parse_args()
    tables = [*map(str, options.seeds), *(str(path.resolve(strict=True)) for path in options.tables)]
    lessons = find_lessons(numbers=options.lessons)
    os.environ.update({**ONE_THREAD, "MPLBACKEND": "Agg", "TF_CPP_MIN_LOG_LEVEL": "3"})
    spawn = multiprocessing.get_context("spawn")
    # Where no data/ is found, the table of a seed is drawn.
    with (
        tempfile.TemporaryDirectory() as nowhere,
        ProcessPoolExecutor(1, spawn, os.chdir, (nowhere,)) as pool,
    ):
        work = [pool.submit(run, lesson.slug, table) for lesson in lessons for table in tables]
        runs = []
        for one in as_completed(work):
            runs.append(one.result())
            print(runs[-1]["lesson"], runs[-1]["table"], runs[-1]["failure"], file=sys.stderr)
    runs.sort(key=lambda one: one["lesson"])

    held = pd.DataFrame(runs)
    held["held"] = [
        f"{sum(claim[-1] for claim in one['claims'])}" + (" then stopped" if one["failure"] else "")
        for one in runs
    ]
    board = held.pivot_table("held", "lesson", "table", aggfunc="first")[held["table"].unique()]
    seconds = held.groupby("lesson")["seconds"].mean()
    print("| lesson | " + " | ".join([*board.columns, "core seconds"]) + " |")
    print("|---" * (len(board.columns) + 2) + "|")
    for slug, row in board.iterrows():
        print("| " + " | ".join([str(slug), *row, f"{seconds[slug]:.1f}"]) + " |")
    columns = ["sentence", "relation", "bound", "value", "holds"]
    claims = pd.DataFrame(
        [(one["lesson"][:2], *claim) for one in runs for claim in one["claims"]], columns=["lesson", *columns]
    )
    print("\n| lesson | claim | asked | lowest | highest |\n|---|---|---|---|---|")
    for (number, sentence), group in claims.groupby(["lesson", "sentence"], sort=False):
        asked, values = f"{group['relation'].iloc[0]} {group['bound'].iloc[0]:g}", group["value"]
        print(f"| {number} | {sentence} | {asked} | {values.min():.3g} | {values.max():.3g} |")
    failures = [f"{one['table']}: {one['failure']}" for one in runs if one["failure"]]
    print("\n".join(["", *failures]) if failures else "\nEvery claim held on every table.")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
