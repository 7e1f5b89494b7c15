"""What the scripts of trials share: their options, their folds, and the table that keeps the rows."""

import argparse
import csv
from pathlib import Path

from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedGroupKFold


def read_options(title, names, samplers):
    """Read which trials to run, and on which fold of which table."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("names", nargs="+", choices=names, metavar="NAME", help="; ".join(names))
    parser.add_argument(
        "--table", type=Path, required=True, help="hmnist_28_28_RGB.csv, its metadata beside it"
    )
    parser.add_argument("--sampler", choices=samplers, default="none")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--fold-seed", type=int, default=1)
    return parser.parse_args()


def split_rows(table, options):
    """Return the training rows and the held-out rows of the fold."""
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=options.fold_seed)
    return list(folds.split(table.pixels, table.labels, table.lesion_ids))[options.fold]


def measured(seconds, truth, predicted, macro_auc):
    """Return the measured columns of a row."""
    return {
        "core_seconds": round(seconds, 1),
        "accuracy": round(accuracy_score(truth, predicted), 4),
        "balanced_accuracy": round(balanced_accuracy_score(truth, predicted), 4),
        "macro_f1": round(f1_score(truth, predicted, average="macro", zero_division=0), 4),
        "macro_auc": round(float(macro_auc), 4),
    }


def keep_row(path, options, name, changes, found):
    """Print a row, and append it to the table of trials."""
    fold = {"sampler": options.sampler, "fold": options.fold, "fold_seed": options.fold_seed}
    row = {"name": name, "changes": changes, **fold, **found}
    print(row, flush=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
