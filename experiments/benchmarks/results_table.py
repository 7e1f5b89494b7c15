"""Print the leaderboard of a run, or the mean of several, as the Markdown table of docs/results.md.

python experiments/benchmarks/results_table.py RUN [RUN ...] [--metrics macro_f1 ece ...] [--no-seconds]

After ± stands the standard deviation over the folds of one run; of several runs, the standard deviation of
their means stands in brackets.
"""

import argparse

import pandas as pd

from skinmnist.analysis.summaries import leaderboard
from skinmnist.experiment.run_folder.record import read_run
from skinmnist.reporting.format import duration, fixed, titled, with_spread

HEADINGS = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_auc": "macro-AUC",
    "recall_mel": "melanoma recall",
    "ece": "ECE",
}
SHOWN = ["macro_f1", "balanced_accuracy", "accuracy", "macro_auc", "recall_mel"]


def mean_board(boards, metrics):
    """Put the mean of several leaderboards, and their spread, where one has means and spreads."""
    together = pd.concat(boards)
    pairs = together.groupby(["sampler_title", "model"], sort=False, dropna=False)
    board = pairs[[*metrics, "seconds"]].mean()
    for metric in metrics:
        board[f"{metric}_sd"] = pairs[metric].std()
    board["sampler"] = pairs["sampler"].first()
    return board.reset_index().sort_values(metrics[0], ascending=False)


def scores_table(records, metrics):
    """Return a leaderboard with a mean and a spread for each metric."""
    boards = []
    for record in records:
        board = titled(record.info, leaderboard(record))
        folds = record.scores.groupby(["sampler", "model", "metric"])["value"].agg(["mean", "std"])
        for metric in metrics:
            if metric not in board:
                keys = list(zip(board["sampler"], board["model"], [metric] * len(board), strict=True))
                board[[metric, f"{metric}_sd"]] = folds.reindex(keys).to_numpy()
        boards.append(board)
    return boards[0] if len(boards) == 1 else mean_board(boards, metrics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders that skinmnist.compare has written")
    parser.add_argument("--metrics", nargs="+", default=SHOWN, choices=list(HEADINGS), metavar="METRIC")
    parser.add_argument("--no-seconds", action="store_true", help="leave out what a cell takes")
    arguments = parser.parse_args()
    records = [read_run(folder) for folder in arguments.runs]
    metrics = arguments.metrics
    last = [] if arguments.no_seconds else ["s per cell"]
    print("| sampler | model |", " | ".join([*(HEADINGS[name] for name in metrics), *last]), "|")
    print("|---|---|" + "---|" * (len(metrics) + len(last)))
    for row in scores_table(records, metrics).to_dict("records"):
        scores = [with_spread(row[name], row[f"{name}_sd"]) for name in metrics]
        if len(records) > 1:
            scores = [f"{fixed(row[name])} ({fixed(row[f'{name}_sd'])})" for name in metrics]
        scores += [fixed(row["seconds"], 1) for _ in last]
        name = f"`{row['model']}`" if row["sampler"] else f"*{row['model']}*"
        print("|", " | ".join([row["sampler_title"], name, *scores]), "|")
    for record in records:
        info = record.info
        wall, cores = duration(info.wall_seconds), info.hardware.cores
        memory = f"{info.peak_memory_mb:,.0f} MB ({info.memory_measure or 'interrupted'})"
        cells, seed = len(record.results), info.seed
        print(f"\n{cells} cells, seed {seed}, {wall} on {cores} cores, peak memory {memory}.")


if __name__ == "__main__":
    main()
