"""Print scores at equal operating points as the Markdown table that stands in docs/results.md.

python experiments/benchmarks/operating_points_table.py RUN [RUN ...]

One row for each pair of a run, means over its cells: what `operating_points.csv` says of ranking at the mix
of training and at the natural prior, and of decisions as trained and with exponents chosen on other folds.
"""

import argparse
from pathlib import Path

import pandas as pd

#: Heading, metric and rule of each column.
COLUMNS = (
    ("macro-AUC as trained", "macro_auc", "as_trained"),
    ("macro-AUC natural", "macro_auc", "natural_prior"),
    ("ECE as trained", "ece", "as_trained"),
    ("ECE natural", "ece", "natural_prior"),
    ("macro-F1 as trained", "macro_f1", "as_trained"),
    ("macro-F1 tuned", "macro_f1", "tuned_macro_f1"),
    ("balanced accuracy as trained", "balanced_accuracy", "as_trained"),
    ("balanced accuracy tuned", "balanced_accuracy", "tuned_balanced_accuracy"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders that skinmnist.compare has written")
    for run in parser.parse_args().runs:
        points = pd.read_csv(Path(run) / "operating_points.csv", keep_default_na=False)
        keys = ["model", "sampler", "metric", "rule"]
        means = points.groupby(keys, sort=False)["value"].mean()
        print("| model | sampler |", " | ".join(heading for heading, _, _ in COLUMNS), "|")
        print("|---|---|" + "---|" * len(COLUMNS))
        pairs = points[["model", "sampler"]].drop_duplicates()
        for model, sampler in pairs.sort_values("model", kind="stable").itertuples(index=False):
            values = [means[model, sampler, metric, rule] for _, metric, rule in COLUMNS]
            print(f"| `{model}` | {sampler} |", " | ".join(f"{value:.3f}" for value in values), "|")
        print()


if __name__ == "__main__":
    main()
