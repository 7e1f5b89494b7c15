"""Print scores at equal operating points as the Markdown table that stands in docs/results.md.

python experiments/benchmarks/operating_points_table.py RUN [RUN ...] [--effects]

One row for each pair of a run, means over its cells: what `operating_points.csv` says of ranking at the mix
of training and at the natural prior, and of decisions as trained and with exponents chosen on other folds.
With `--effects`, also what each sampler changes beside none: the difference in tuned macro-F1, its interval
over all comparisons of its family, and the conclusion that the report draws.
"""

import argparse
from pathlib import Path

import pandas as pd

from skinmnist.analysis.summaries import RANKING, effects

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


#: Columns of the shorter table beside the effects.
SHORT = (
    ("accuracy natural", "accuracy", "natural_prior"),
    ("macro-AUC natural", "macro_auc", "natural_prior"),
    ("macro-F1 as trained", "macro_f1", "as_trained"),
    ("macro-F1 tuned", "macro_f1", "tuned_macro_f1"),
)
TUNED = ("tuned_macro_f1", "macro_f1")


def effect_cells(run: Path) -> dict[tuple[str, str], list[str]]:
    """Return the last cells of each row: differences in ranking and in tuned macro-F1, and the conclusion."""
    comparisons = pd.read_csv(run / "comparisons.csv", keep_default_na=False)
    cells = {}
    for effect in effects(comparisons):
        differences = [effect.rows[measure] for measure in (RANKING, TUNED)]
        shown = ["{difference:+.3f} [{low:+.3f}, {high:+.3f}]".format(**row) for row in differences]
        cells[effect.model, effect.sampler] = [*shown, effect.conclusion]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders that skinmnist.compare has written")
    parser.add_argument("--effects", action="store_true", help="what each sampler changes beside none")
    arguments = parser.parse_args()
    columns = SHORT if arguments.effects else COLUMNS
    for run in map(Path, arguments.runs):
        last = effect_cells(run) if arguments.effects else {}
        more = ["macro-AUC beside none", "tuned macro-F1 beside none", "conclusion"] if last else []
        points = pd.read_csv(run / "operating_points.csv", keep_default_na=False)
        keys = ["model", "sampler", "metric", "rule"]
        means = points.groupby(keys, sort=False)["value"].mean()
        headings = ["model", "sampler", *(heading for heading, _, _ in columns), *more]
        print("|", " | ".join(headings), "|")
        print("|" + "---|" * len(headings))
        pairs = points[["model", "sampler"]].drop_duplicates()
        for model, sampler in pairs.sort_values("model", kind="stable").itertuples(index=False):
            values = [f"{means[model, sampler, metric, rule]:.3f}" for _, metric, rule in columns]
            values += last.get((model, sampler), ["–"] * len(more))
            print(f"| `{model}` | {sampler} |", " | ".join(values), "|")
        print()


if __name__ == "__main__":
    main()
