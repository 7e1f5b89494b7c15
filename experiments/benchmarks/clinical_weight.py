"""Set weights of the clinical columns side by side, on the finished cells of a run.

python experiments/benchmarks/clinical_weight.py RUN CSV [--columns NAME ...] [--weights NUMBER ...]

RUN is a folder that skinmnist.compare has written for CSV; choose the weight on another seed than the one
that results are reported on. Prints macro-F1, macro-AUC and log loss, means over the folds. The table on top
of skinmnist/experiment/derived/fusion.py is that of a run with --seed 1.
"""

import argparse

import numpy as np
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from skinmnist import load_hmnist
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import CellResult
from skinmnist.experiment.derived.fusion import ClinicalOdds, add_odds, choose_columns
from skinmnist.experiment.run_folder.record import read_run


def held_out_odds(results: list[CellResult], table: PixelTable, columns: dict) -> dict:
    """Return the log-odds of each fold's held-out rows, learnt from the rows of the other folds."""
    rows_of = {result.cell[2:]: result.rows for result in results}
    odds = {}
    for (repeat, fold), rows in rows_of.items():
        others = [other for key, other in rows_of.items() if key[0] == repeat and key[1] != fold]
        train = np.sort(np.concatenate(others))
        model = ClinicalOdds(len(table.class_names))
        model.fit({name: values[train] for name, values in columns.items()}, table.labels[train])
        odds[repeat, fold] = model.log_odds({name: values[rows] for name, values in columns.items()})
    return odds


def score(result: CellResult, probabilities: np.ndarray) -> list[float]:
    labels = result.labels
    return [
        f1_score(labels, probabilities.argmax(axis=1), average="macro", zero_division=0),
        roc_auc_score(labels, probabilities, multi_class="ovr"),
        log_loss(labels, probabilities, labels=range(probabilities.shape[1])),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("csv")
    parser.add_argument("--columns", nargs="+", default=["age", "sex", "localization"])
    parser.add_argument("--weights", nargs="+", type=float, default=[0.0, 0.3, 0.5, 0.7, 1.0, 1.3])
    arguments = parser.parse_args()
    run, table = read_run(arguments.run), load_hmnist(arguments.csv)
    if run.info.protocol.data != table.digest():
        parser.error(f"{arguments.run} is no run on {arguments.csv}")
    results = [result for result in run.results if result.cell.base is None]
    odds = held_out_odds(results, table, choose_columns(table, arguments.columns))
    print("| sampler | model | weight | macro-F1 | macro-AUC | log loss |\n|---|---|---|---|---|---|")
    for pair in dict.fromkeys(result.cell[:2] for result in results):
        of_pair = [result for result in results if result.cell[:2] == pair]
        for weight in arguments.weights:
            scores = [
                score(result, add_odds(result.probabilities, odds[result.cell[2:]], weight))
                for result in of_pair
            ]
            figures = " | ".join(f"{mean:.3f}" for mean in np.mean(scores, axis=0))
            print(f"| {pair[0]} | {pair[1]} | {weight:.1f} | {figures} |")


if __name__ == "__main__":
    main()
