"""Put a run folder beside the same grid as a careful student would write it: times, memory and scores.

Run it as ``python experiments/benchmarks/against_naive.py RUN NAIVE.csv [MORE.csv ...]``, where ``RUN`` is a
folder that ``skinmnist.compare`` has written and the CSVs come from `naive.py`, of the same table and seed.
Times and memory of the script are those of the first CSV, scores those of all of them: folds that were run
on a busy machine still have scores. Only folds that both sides have are compared, and their number is told.
The difference of macro-F1 has the 95 % interval of the corrected t-test over the folds, which allows for
their common training rows (Nadeau & Bengio 2003); fewer than three folds have none.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from skinmnist.analysis.significance import FEWEST_FOLDS, corrected_t_test
from skinmnist.experiment.run_folder.record import read_run

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")
KEYS = ["sampler", "model", "repeat", "fold"]


def wide(long):
    """One row for each cell, one column for each metric."""
    return long.pivot_table(index=KEYS, columns="metric", values="value")


def of_run(record):
    """Scores and price of the cells of a run: seconds by the clock, of one thread each, side by side."""
    timings = record.timings.set_index(KEYS)
    seconds = timings[["resample_seconds", "fit_seconds", "predict_seconds"]].sum(axis=1)
    price = pd.DataFrame({"seconds": seconds, "memory": timings["peak_rss_mb"]})
    return wide(record.scores)[list(SCORES)].join(price)


def of_naive(paths):
    """Scores of the student's cells; of each pair, seconds by the clock and of cores, and megabytes."""
    found = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    scores = wide(found.drop_duplicates([*KEYS, "metric"]))[list(SCORES)]
    names = {"wall_seconds": "wall", "core_seconds": "core", "peak_rss_mb": "memory"}
    price = wide(pd.read_csv(paths[0]))[list(names)].rename(columns=names)
    return scores, price.groupby(level=["sampler", "model"]).mean()


def compare(ours, scores, price, folds):
    """Lay out each pair of sampler and model that both sides have, one row each."""
    both = ours.join(scores.add_suffix("_naive"), how="inner")
    rows = []
    for pair, cells in both.groupby(level=["sampler", "model"], sort=False):
        if pair not in price.index:
            raise SystemExit(f"the first CSV has no times of {pair[1]} with {pair[0]}; run naive.py for it")
        gain = (cells["macro_f1"] - cells["macro_f1_naive"]).to_numpy()
        test = corrected_t_test(gain, 1 / (folds - 1))
        low, high = (test.low, test.high) if len(gain) >= FEWEST_FOLDS else (np.nan, np.nan)
        own, paid = ours.loc[pair].mean(), price.loc[pair]
        rows.append(
            {
                "sampler": pair[0],
                "model": pair[1],
                "s": own["seconds"],
                "naive core s": paid["core"],
                "naive wall s": paid["wall"],
                "times": paid["core"] / own["seconds"],
                "MB": own["memory"],
                "naive MB": paid["memory"],
                "folds": len(cells),
                **{name: cells[name].mean() for name in SCORES},
                **{f"naive {name}": cells[f"{name}_naive"].mean() for name in SCORES},
                "macro_f1 gain": gain.mean(),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a folder that skinmnist.compare has written")
    parser.add_argument("naive", type=Path, nargs="+", help="CSVs that naive.py has written")
    parser.add_argument(
        "--seconds",
        type=float,
        help="wall seconds from the command to the report; else those that the run tells",
    )
    options = parser.parse_args()
    record = read_run(options.run)
    folds = record.info.protocol.folds
    table = compare(of_run(record), *of_naive(options.naive), folds)
    if table.empty:
        raise SystemExit("the two have no cell in common; run naive.py on the table and seed of the run")
    with pd.option_context("display.width", 250, "display.max_columns", None):
        print(table[table.columns[:8]].round(1).to_string(index=False), "\n")
        print(table.drop(columns=table.columns[2:8]).round(4).to_string(index=False), "\n")
    own, core, wall = (folds * table[name].sum() for name in ("s", "naive core s", "naive wall s"))
    seconds = options.seconds or record.info.wall_seconds
    lines = (
        f"Each pair's mean, {folds} times: {own:,.0f} s of one thread against {core:,.0f} s of one core, "
        f"{core / own:.1f} times as fast.",
        f"By the clock: {seconds:,.0f} s for {len(record.results)} cells, side by side, against "
        f"{wall:,.0f} s for the script's, one after the other: {wall / seconds:.1f} times as fast.",
        f"Memory: all processes of the run {record.info.peak_memory_mb:,.0f} MB, the script's largest "
        f"cell {table['naive MB'].max():,.0f} MB.",
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
