"""How the cost of one fold grows with the rows and the size of pictures, for each pair of the grid.

Run it as ``python experiments/benchmarks/scaling.py``. Tables are drawn by `make_lesions`; fold 0 of 5 of
every pair runs in a process of its own, on one thread, two of them side by side. Costs are processor seconds
of all of a cell: extracting features counts for every cell that does not find them in the cache, drawing the
table and importing libraries for none. After each table stand the wall seconds of all its cells, and the most
memory that all processes took together. What was measured is added to ``scaling.csv`` beside this file, where
a cell's last row counts.

``python experiments/benchmarks/scaling.py --show`` runs nothing and prints the file as a table. There
a cost stands with its growth in brackets: the cost beside that of the fewest rows, divided by how many times
more rows there are. 1 is linear, 2 twice as much.
"""

import argparse
import csv
import multiprocessing
import os
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

#: Numerical libraries read these when a process starts.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SAMPLERS, MODELS = ("none", "RandomOverSampler", "SMOTE"), ("svm", "random_forest", "cnn")
#: Once, twice, four and ten times the rows of HAM10000.
ROWS, SIZES = (10_015, 20_030, 40_060, 100_150), (8, 28, 64)
RESULTS = Path(__file__).with_name("scaling.csv")


def draw_table(path, rows, size):
    """Draw a table into a file that the processes of its cells map into their memory."""
    import joblib

    from skinmnist import make_lesions

    joblib.dump(make_lesions(rows, size=size, random_state=0), path)


def run_cell(path, sampler, model):
    """Run fold 0 of 5 of one pair; return its core seconds, peak memory and notes."""
    import importlib
    import resource

    import joblib

    from skinmnist.experiment.cells import Cell
    from skinmnist.experiment.fit_cell import fit_cell
    from skinmnist.experiment.plan import make_plan

    table = joblib.load(path, mmap_mode="r")
    plan = make_plan(table, [sampler], [model], 5, 1, None, 0, None)
    library = plan.task.models[model].cost.library
    if library:
        importlib.import_module(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        result = fit_cell(Cell(sampler, model, 0, 0), table, plan.task)
        seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "core_seconds": round(seconds, 1),
        "peak_rss_mb": round(memory),
        "notes": "; ".join(result.notes),
    }


def run_cells(path, pairs, jobs):
    """Run cells side by side, each in a new process; yield each pair and its figures."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as executor:
        running = {executor.submit(run_cell, path, *pair): pair for pair in pairs}
        for future in as_completed(running):
            yield running[future], future.result()


def run(options):
    """Run every cell that was asked for, print what it cost and add it to the results."""
    from skinmnist.experiment.execution.machine import PeakMemory

    os.environ |= ONE_THREAD
    pairs = [(sampler, model) for model in reversed(options.models) for sampler in options.samplers]
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            for rows in sorted(options.rows):
                path = Path(folder) / f"{size}-{rows}.joblib"
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, mp_context=context) as executor:
                    executor.submit(draw_table, path, rows, size).result()
                start = time.perf_counter()
                with PeakMemory() as peak:
                    for (sampler, model), figures in run_cells(path, pairs, options.jobs):
                        row = {"size": size, "rows": rows, "model": model, "sampler": sampler, **figures}
                        print(row, flush=True)
                        add(row)
                seconds, memory = time.perf_counter() - start, f"{peak.megabytes:,.0f} MB ({peak.measure})"
                print(
                    f"{rows:,} rows of {size} x {size}, {len(pairs)} cells on {options.jobs} cores: "
                    f"{seconds:.0f} s, peak memory {memory}",
                    flush=True,
                )
                path.unlink()


def add(row):
    """Append a row to the results."""
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


def show():
    """Print the results as a Markdown table: costs, and how they grew with the rows."""
    with RESULTS.open(newline="") as file:
        found = {
            (int(row["size"]), row["model"], row["sampler"], int(row["rows"])): float(row["core_seconds"])
            for row in csv.DictReader(file)
        }
    print("| size | model | sampler | " + " | ".join(f"{rows:,} rows" for rows in ROWS) + " |")
    print("|---|---|---|" + "---|" * len(ROWS))
    for size in SIZES:
        for model in MODELS:
            for sampler in SAMPLERS:
                costs = {rows: found[key] for rows in ROWS if (key := (size, model, sampler, rows)) in found}
                if costs:
                    cells = " | ".join(cost_and_growth(costs, rows) for rows in ROWS)
                    print(f"| {size} x {size} | `{model}` | {sampler} | {cells} |")


def cost_and_growth(costs, rows):
    """Write a cost and its growth from the fewest rows, or a dash where it was not measured."""
    if rows not in costs:
        return "–"
    fewest = min(costs)
    if rows == fewest:
        return f"{costs[rows]:.1f} s"
    return f"{costs[rows]:.1f} s ({costs[rows] / costs[fewest] / (rows / fewest):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", type=int, default=list(ROWS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side")
    parser.add_argument("--show", action="store_true", help="print what was measured; run nothing")
    options = parser.parse_args()
    if options.show:
        show()
    else:
        run(options)


if __name__ == "__main__":
    main()
