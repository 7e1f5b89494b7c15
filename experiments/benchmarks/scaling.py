"""How the cost of one fold grows with the rows and the size of pictures, for each pair of the grid.

Run it as ``python experiments/benchmarks/scaling.py``. Tables are drawn by `make_lesions`; every cell runs
in a process of its own, on one thread. ``growth`` is the cost beside that of the fewest rows, divided by how
many times more rows there are: 1 is linear, 2 twice as much. ``exponent`` is the power of the rows that the
cost follows from one number of rows to the next. Describing the pictures counts for every cell, drawing the
table and importing libraries for none.
"""

import argparse
import math
import multiprocessing
import os
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

#: Numerical libraries read these when a process starts.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SAMPLERS, MODELS = ("none", "RandomOverSampler", "SMOTE"), ("svm", "random_forest", "cnn")
ROWS, SIZES = (2_500, 5_000, 10_000, 25_000), (28,)


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

    from skinmnist.evaluation.cells import Cell
    from skinmnist.evaluation.fitting import fit_cell
    from skinmnist.evaluation.plan import make_plan

    table = joblib.load(path, mmap_mode="r")
    plan = make_plan(table, [sampler], [model], 5, 1, None, 0, None)
    library = plan.task.models[model].library
    if library:
        importlib.import_module(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        result = fit_cell(Cell(sampler, model, 0, 0), table, plan.task)
        seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds, memory, "; ".join(result.notes)


def alone(function, *arguments):
    """Call a function in a new process and return what it returns."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", type=int, default=list(ROWS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    options = parser.parse_args()
    os.environ |= ONE_THREAD
    print("size   rows sampler           model             core s  peak MB  growth  exponent")
    seen = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            for rows in sorted(options.rows):
                path = Path(folder) / f"{size}-{rows}.joblib"
                alone(draw_table, path, rows, size)
                for model in options.models:
                    for sampler in options.samplers:
                        seconds, memory, notes = alone(run_cell, path, sampler, model)
                        costs = seen.setdefault((size, model, sampler), [])
                        costs.append((rows, seconds))
                        print(
                            f"{size:4} {rows:6} {sampler:17} {model:14} {seconds:9.1f} {memory:8.0f} "
                            f"{growth(costs):7.2f} {exponent(costs):9.2f}  {notes}",
                            flush=True,
                        )
                path.unlink()


def growth(costs):
    """Return how many times the cost grew beside the rows, from the first to the last."""
    (first, cheap), (last, dear) = costs[0], costs[-1]
    return dear / cheap / (last / first)


def exponent(costs):
    """Return the power of the rows that the cost followed at last, or NaN of a single one."""
    if len(costs) < 2:
        return math.nan
    (before, cheap), (after, dear) = costs[-2:]
    return math.log(dear / cheap) / math.log(after / before)


if __name__ == "__main__":
    main()
