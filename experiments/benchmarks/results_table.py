"""Print a run's leaderboard as the Markdown table that stands in the README.

python experiments/benchmarks/results_table.py RUN
"""

import argparse

from skinmnist.evaluation.record import read_run
from skinmnist.reporting.naming import duration, fixed, with_spread
from skinmnist.reporting.tables import leaderboard

HEADINGS = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_auc": "macro-AUC",
    "recall_mel": "melanoma recall",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a folder that skinmnist.compare has written")
    record = read_run(parser.parse_args().run)
    board = leaderboard(record)
    metrics = [name for name in HEADINGS if name in board.columns]
    print("| sampler | model |", " | ".join(HEADINGS[name] for name in metrics), "| s per cell |")
    print("|---|---|" + "---|" * (len(metrics) + 1))
    for row in board.to_dict("records"):
        scores = [with_spread(row[name], row[f"{name}_sd"]) for name in metrics]
        name = f"`{row['model']}`" if row["sampler"] else f"*{row['model']}*"
        print("|", " | ".join([row["sampler_title"], name, *scores, fixed(row["seconds"], 1)]), "|")
    info = record.info
    wall, cores = duration(info["wall_seconds"]), info["hardware"]["cores"]
    memory = f"{info['peak_memory_mb']:,.0f} MB ({info['memory_measure']})"
    cells, seed = len(record.results), info["seed"]
    print(f"\n{cells} cells, seed {seed}, {wall} on {cores} cores, peak memory {memory}.")


if __name__ == "__main__":
    main()
