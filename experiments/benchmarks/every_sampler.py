"""Run every sampler and strategy with its defaults on one held-out part of a table, and list the outcomes.

python experiments/benchmarks/every_sampler.py CSV [--models svm random_forest] [--out DIR]

A pair is done, with its score and what was lowered; or it was refused before training; or it failed.
"""

import argparse
import sys

from imblearn import combine, over_sampling, under_sampling

from skinmnist import load_hmnist, run_comparison
from skinmnist.errors import InputError
from skinmnist.resampling.registry import make_sampler
from skinmnist.resampling.strategies import STRATEGIES


def imbalanced_learn():
    """Return the names of all samplers that imbalanced-learn has."""
    modules = (over_sampling, under_sampling, combine)
    names = [name for module in modules for name in module.__all__]
    return [name for name in names if any(hasattr(getattr(m, name, None), "fit_resample") for m in modules)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", metavar="CSV")
    parser.add_argument("--models", nargs="+", default=["svm", "random_forest"], metavar="NAME")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    parser.add_argument("--out", metavar="DIR")
    arguments = parser.parse_args()
    samplers, refused = list(STRATEGIES), []
    for name in imbalanced_learn():
        try:
            make_sampler(name, 0)
            samplers.append(name)
        except InputError as error:
            refused.append(str(error))
    record = run_comparison(
        load_hmnist(arguments.csv),
        samplers,
        arguments.models,
        split="holdout",
        jobs=arguments.jobs,
        out=arguments.out,
    )
    scores = record.scores[record.scores["metric"] == "macro_f1"].set_index(["sampler", "model"])["value"]
    for result in record.results:
        cell = result.cell
        notes = "; ".join(note for note in result.notes if cell.sampler in note)
        score = f"macro-F1 {scores[cell.sampler, cell.model]:.3f}"
        print(f"done     {cell.sampler:<32}{cell.model:<15}{score}  {notes}")
    for sentence in (*refused, *(note for note in record.info.notes if "is not planned" in note)):
        print(f"refused  {sentence}")
    for failure in record.failures:
        print(f"FAILED   {failure.cell.sampler:<32}{failure.cell.model:<15}{failure.reason}")
    print(f"{len(record.results)} done, {len(record.failures)} failed, {len(refused)} samplers refused")
    return 1 if record.failures else 0


if __name__ == "__main__":
    sys.exit(main())
