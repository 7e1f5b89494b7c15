"""Is the synthetic table as hard as the real one? Scores of the same models on equally many rows of both.

    python experiments/benchmarks/synthetic_difficulty.py CSV METADATA [--models svm ...] [--seeds 0 1]

Each seed draws its own real rows, by whole lesions and in proportion to the classes, and its own synthetic
table; scores are means over five folds by lesion and over the seeds. For every model the last lines say
whether, without resampling, accuracy is within .07 and macro-F1 within .10 of the real table's, and whether
SMOTE moves the balanced accuracy in the same direction.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

from skinmnist import load_hmnist, make_lesions, run_comparison
from skinmnist.datasets.table import sample_rows
from skinmnist.models.registry import DEFAULT_MODELS

METRICS = ["accuracy", "balanced_accuracy", "macro_f1", "macro_auc"]
BOUNDS = {"accuracy": 0.07, "macro_f1": 0.10}
SAMPLERS = ("none", "SMOTE")


def measure(arguments: argparse.Namespace) -> pd.DataFrame:
    """Mean scores, indexed by model, sampler and table (real, synthetic)."""
    real = load_hmnist(arguments.csv, arguments.metadata)
    scores = []
    for seed in arguments.seeds:
        tables = {
            "real": real.take(sample_rows(real, arguments.rows, seed)),
            "synthetic": make_lesions(arguments.rows, size=real.shape[:2], random_state=seed),
        }
        for name, table in tables.items():
            record = run_comparison(table, SAMPLERS, arguments.models, seed=seed, jobs=arguments.jobs)
            scores.append(record.scores.assign(table=name))
    together = pd.concat(scores).query("metric in @METRICS")
    means = together.pivot_table(index=["model", "sampler", "table"], columns="metric", values="value")
    return means[METRICS]


def judge(means: pd.DataFrame) -> list[str]:
    """One sentence for each model and demand."""
    verdicts = []
    for model in means.index.unique("model"):
        plain, smote = (means.loc[model, sampler] for sampler in SAMPLERS)
        for metric, bound in BOUNDS.items():
            gap = plain.loc["synthetic", metric] - plain.loc["real", metric]
            verdict = "within" if abs(gap) <= bound else "OUTSIDE"
            verdicts.append(f"{model}: {metric} {gap:+.3f} against the real table, {verdict} {bound}")
        effect = (smote - plain)["balanced_accuracy"]
        verdict = "same" if np.sign(effect["real"]) == np.sign(effect["synthetic"]) else "OTHER"
        verdicts.append(
            f"{model}: SMOTE moves balanced accuracy by {effect['real']:+.3f} (real) and "
            f"{effect['synthetic']:+.3f} (synthetic), {verdict} direction"
        )
    return verdicts


def time_drawing(pictures: int = 10_000) -> float:
    """Processor seconds that drawing takes."""
    start = time.process_time()
    make_lesions(pictures)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv")
    parser.add_argument("metadata")
    parser.add_argument("--models", nargs="+", default=list(DEFAULT_MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--jobs", type=int, default=None)
    arguments = parser.parse_args()
    print(f"10,000 pictures drawn in {time_drawing():.2f} processor seconds")
    means = measure(arguments)
    print(means.round(3).to_string())
    print("\n".join(judge(means)))


if __name__ == "__main__":
    main()
