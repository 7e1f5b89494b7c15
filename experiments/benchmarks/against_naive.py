"""Put a run folder beside the same grid as a careful student would write it: times, memory and scores.

Run it as ``python experiments/benchmarks/against_naive.py RUN NAIVE.csv``, where ``RUN`` is a folder that
``skinmnist.compare`` has written and ``NAIVE.csv`` comes from `naive.py`, of the same table and seed. Only
folds that both have are compared, and their number is told: one fold says little about scores. The
difference of macro-F1 stands beside its paired standard error over the folds; a corrected one (Nadeau &
Bengio 2003) counts that the folds share training rows.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from skinmnist.evaluation.record import read_run

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")
KEYS = ["sampler", "model", "repeat", "fold"]


def wide(long):
    """One row for each cell, one column for each metric."""
    return long.pivot_table(index=KEYS, columns="metric", values="value")


def of_run(record):
    """Scores and price of the cells of a run, on one core each."""
    timings = record.timings.set_index(KEYS)
    seconds = timings[["resample_seconds", "fit_seconds", "predict_seconds"]].sum(axis=1)
    price = pd.DataFrame({"seconds": seconds, "memory": timings["peak_rss_mb"]})
    return wide(record.scores)[list(SCORES)].join(price)


def of_naive(path):
    """Scores and price of the student's cells: core seconds, which do not depend on the other core."""
    cells = wide(pd.read_csv(path))
    return cells.rename(columns={"core_seconds": "seconds", "peak_rss_mb": "memory"})


def paired_error(differences, folds):
    """Return the plain and the corrected standard error of the mean of paired differences of folds."""
    if len(differences) < 2:
        return np.nan, np.nan
    variance = np.var(differences, ddof=1)
    return np.sqrt(variance / len(differences)), np.sqrt(variance * (1 / len(differences) + 1 / (folds - 1)))


def compare(ours, theirs, folds):
    """Lay out each pair of sampler and model that both have, one row each."""
    both = ours.join(theirs.add_suffix("_naive"), how="inner")
    rows = []
    for (sampler, model), cells in both.groupby(level=["sampler", "model"], sort=False):
        gain = (cells["macro_f1"] - cells["macro_f1_naive"]).to_numpy()
        plain, corrected = paired_error(gain, folds)
        mean = cells.mean()
        rows.append(
            {
                "sampler": sampler,
                "model": model,
                "folds": len(cells),
                "s": mean["seconds"],
                "s naive": mean["seconds_naive"],
                "times faster": mean["seconds_naive"] / mean["seconds"],
                "MB": mean["memory"],
                "MB naive": mean["memory_naive"],
                **{name: mean[name] for name in SCORES},
                **{f"{name} naive": mean[f"{name}_naive"] for name in SCORES},
                "macro_f1 gain": gain.mean(),
                "standard error": plain,
                "corrected": corrected,
            }
        )
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a folder that skinmnist.compare has written")
    parser.add_argument("naive", type=Path, help="the CSV that naive.py has written")
    options = parser.parse_args()
    record = read_run(options.run)
    ours, theirs = of_run(record), of_naive(options.naive)
    table = compare(ours, theirs, record.info["protocol"]["folds"])
    if table.empty:
        raise SystemExit("the two have no cell in common; run naive.py on the table and seed of the run")
    with pd.option_context("display.width", 250, "display.max_columns", None):
        print(table[table.columns[:8]].round(2).to_string(index=False), "\n")
        print(table.drop(columns=table.columns[3:8]).round(4).to_string(index=False), "\n")
    folds = record.info["protocol"]["folds"]
    total, naive = (folds * table[name].sum() for name in ("s", "s naive"))
    print(f"Each pair's mean, {folds} times: {total:,.0f} s against {naive:,.0f} s of one core, ", end="")
    print(f"{naive / total:.1f} times as fast; largest cell {table['MB'].max():,.0f} MB ", end="")
    print(f"against {table['MB naive'].max():,.0f} MB.")
    info = record.info
    print(
        f"The whole run: {len(record.results)} cells in {info['wall_seconds']:,.0f} s of wall time, ", end=""
    )
    print(
        f"{info['peak_memory_mb']:,.0f} MB ({info['memory_measure']}); one cell after the other, as the ",
        end="",
    )
    print(f"student's script runs them, takes {naive / info['wall_seconds']:.1f} times as long.")


if __name__ == "__main__":
    main()
