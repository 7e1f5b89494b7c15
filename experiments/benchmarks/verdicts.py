"""Print how often verdicts are wrong, and which differences they can show, on simulated comparisons.

python experiments/benchmarks/verdicts.py [RUN] [--families 200000] [--tables 300] [--seed 0]

A family is that of the default grid: two samplers against none, with three models. Its differences are drawn
as cross-validation makes them: those of two folds go together with a correlation of one over the folds. Or,
in the rows "refitted", methods are trained: seven Gaussian classes with the shares of HAM10000 and linear
discriminant analysis, each method with three columns of noise of its own, so that all are equally good and no
two are alike; where a difference is wanted, a share of the answers is spoiled. RUN, the folder of a finished
run, gives the spreads of differences between folds; without it, those that it printed for the default run on
hmnist_8_8_RGB.csv are taken.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr, stdtrit

from skinmnist.analysis.significance import (
    BETTER,
    EQUAL,
    LEVEL,
    ROPE,
    SURE,
    UNDECIDED,
    WORSE,
    compare_samplers,
)
from skinmnist.facts import ROWS_PER_CLASS

FOLDS = 5
SAMPLERS, MODELS = ("none", "RandomOverSampler", "SMOTE"), ("svm", "random_forest", "cnn")
TESTS = (len(SAMPLERS) - 1) * len(MODELS)
REPEATS = (1, 3)
#: Standard deviations of the differences between folds, one for each comparison, by score and rule.
SPREADS = {
    "macro_f1 as_trained": (0.0244, 0.0264, 0.0107, 0.0141, 0.0143, 0.0230),
    "balanced_accuracy as_trained": (0.0197, 0.0187, 0.0132, 0.0191, 0.0232, 0.0291),
    "accuracy as_trained": (0.0103, 0.0101, 0.0099, 0.0080, 0.0102, 0.0205),
    "macro_auc as_trained": (0.0050, 0.0041, 0.0023, 0.0020, 0.0093, 0.0079),
    "recall_mel as_trained": (0.0250, 0.0245, 0.0247, 0.0170, 0.0589, 0.0576),
    "macro_auc natural_prior": (0.0013, 0.0019, 0.0017, 0.0032, 0.0066, 0.0067),
    "macro_f1 tuned_macro_f1": (0.0147, 0.0140, 0.0153, 0.0147, 0.0124, 0.0160),
    "balanced_accuracy tuned_balanced_accuracy": (0.0076, 0.0178, 0.0178, 0.0132, 0.0064, 0.0201),
}
#: Families that are drawn at once.
CHUNK = 20_000
TRUE_DIFFERENCES = (0.02, 0.05, 0.10)
WORDS = np.array([WORSE, UNDECIDED, EQUAL, BETTER])
_Floats = npt.NDArray[np.float64]


def judge(differences: _Floats) -> npt.NDArray[np.str_]:
    """Return the verdicts on families of differences, shape (families, tests, folds over all repeats)."""
    tests, count = differences.shape[1:]
    mean = differences.mean(axis=2)
    scale = differences.std(axis=2, ddof=1) * np.sqrt(1 / count + 1 / (FOLDS - 1))
    reach = stdtrit(count - 1, 1 - LEVEL / (2 * tests)) * scale
    within = stdtr(count - 1, (ROPE - mean) / scale) - stdtr(count - 1, (-ROPE - mean) / scale)
    return np.select([within >= SURE, mean > reach, mean < -reach], WORDS[[2, 3, 0]], WORDS[1])


def simulate(
    true: _Floats | float, spreads: _Floats, repeats: int, families: int, rng: np.random.Generator
) -> _Floats:
    """Draw the differences of families; `spreads` are those within a run, one for each test."""
    rho, shape = 1 / FOLDS, (families, len(spreads))
    shared = rng.normal(size=(*shape, 1)) * np.sqrt(rho / (1 - rho))
    own = rng.normal(size=(*shape, repeats * FOLDS))
    return np.asarray(true)[..., None] + np.asarray(spreads)[:, None] * (shared + own)


def check_against_skinmnist(rng: np.random.Generator) -> int:
    """Compare `judge` with the table of comparisons, on families of all kinds; return how many."""
    keys = list(product(SAMPLERS, MODELS, range(FOLDS)))
    for spread, true in product((0.002, 0.01, 0.05), (0.0, 0.005, 0.02, 0.1)):
        drawn = simulate(true, np.full(TESTS, spread), 1, 5, rng)
        for differences, words in zip(drawn, judge(drawn), strict=True):
            scores = pd.DataFrame(keys, columns=["sampler", "model", "fold"])
            by_model = differences.reshape(len(MODELS), len(SAMPLERS) - 1, FOLDS)
            values = np.concatenate([np.zeros((len(MODELS), 1, FOLDS)), by_model], axis=1)
            scores = scores.assign(repeat=0, metric="macro_f1", value=values.transpose(1, 0, 2).ravel())
            assert compare_samplers(scores, FOLDS)["verdict"].tolist() == words.tolist()
    return 3 * 4 * 5


class Refits:
    """Scores of equal methods that are trained: LDA on seven classes, by sums over folds."""

    informative, noise, rows = 8, 3, 5_000

    def __init__(self, rng: np.random.Generator, repeats: int) -> None:
        self.rng, self.repeats = rng, repeats
        shares = np.divide(ROWS_PER_CLASS, sum(ROWS_PER_CLASS))
        self.labels = np.sort(rng.choice(len(shares), self.rows, p=shares))
        centres = np.random.default_rng(1).normal(size=(len(shares), self.informative)) * 0.8
        self.signal = centres[self.labels] + rng.normal(size=(self.rows, self.informative))
        self.folds = [rng.permutation(self.rows) % FOLDS for _ in range(repeats)]

    def predictions(self) -> list[npt.NDArray[np.int64]]:
        """Train a method with noise of its own and return its held-out answers, one array a repeat."""
        columns = np.column_stack([self.signal, self.rng.normal(size=(self.rows, self.noise))])
        onehot = np.eye(len(ROWS_PER_CLASS))[self.labels]
        answers = []
        for folds in self.folds:
            predicted = np.empty(self.rows, dtype=np.int64)
            for fold in range(FOLDS):
                x, y, out = columns[folds != fold], onehot[folds != fold], folds == fold
                counts = y.sum(axis=0)
                means = (y.T @ x) / counts[:, None]
                pooled = (x.T @ x - (means * counts[:, None]).T @ means) / len(x)
                weights = np.linalg.solve(pooled, means.T)
                offset = np.log(counts / len(x)) - 0.5 * (means.T * weights).sum(axis=0)
                predicted[out] = (columns[out] @ weights + offset).argmax(axis=1)
            answers.append(predicted)
        return answers

    def spoiled(self, answers: list[npt.NDArray[np.int64]], share: float) -> list[npt.NDArray[np.int64]]:
        """Give a share of the pictures another answer, whatever it was."""
        k = len(ROWS_PER_CLASS)
        return [
            np.where(self.rng.random(self.rows) < share, (a + self.rng.integers(1, k, self.rows)) % k, a)
            for a in answers
        ]

    def scores(self, answers: list[npt.NDArray[np.int64]]) -> dict[str, _Floats]:
        """Return accuracy and macro-F1 of every fold of every repeat."""
        k, found = len(ROWS_PER_CLASS), []
        for folds, predicted in zip(self.folds, answers, strict=True):
            codes = (folds * k + self.labels) * k + predicted
            found.append(np.bincount(codes, minlength=FOLDS * k * k).reshape(FOLDS, k, k))
        counts = np.concatenate(found)
        hits = np.diagonal(counts, axis1=1, axis2=2)
        sums = counts.sum(axis=1) + counts.sum(axis=2)
        return {
            "accuracy": hits.sum(axis=1) / counts.sum(axis=(1, 2)),
            "macro_f1": (2 * hits / np.maximum(sums, 1)).mean(axis=1),
        }


def refit(share: float, repeats: int, tables: int, rng: np.random.Generator) -> dict[str, _Floats]:
    """Return the differences of `TESTS` methods to `len(MODELS)` others, by score, on as many tables."""
    found: dict[str, list[_Floats]] = {"accuracy": [], "macro_f1": []}
    for _ in range(tables):
        data = Refits(rng, repeats)
        plain = [data.scores(data.predictions()) for _ in MODELS]
        others = [data.scores(data.spoiled(data.predictions(), share)) for _ in range(TESTS)]
        for metric, of_metric in found.items():
            gaps = [other[metric] - plain[place // 2][metric] for place, other in enumerate(others)]
            of_metric.append(np.stack(gaps))
    return {metric: np.stack(gaps) for metric, gaps in found.items()}


def spreads_of(run: Path) -> dict[str, tuple[float, ...]]:
    """Return the spreads of differences between folds of a run, recomputed from its single intervals."""
    rows = pd.read_csv(run / "comparisons.csv", keep_default_na=False, na_values=[""])
    rows = rows[(rows["question"] == "sampler") & rows["single_low"].notna()]
    half = (rows["single_high"] - rows["single_low"]) / 2
    error = half / stdtrit(rows["folds"] - 1, 1 - LEVEL / 2)
    rows = rows.assign(spread=error / np.sqrt(1 / rows["folds"] + 1 / (FOLDS - 1)))
    groups = rows.groupby(["metric", "rule"], sort=False)["spread"]
    return {f"{metric} {rule}": tuple(values.round(4)) for (metric, rule), values in groups}


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def head(*cells: str) -> None:
    row(*cells)
    print("|---" * len(cells) + "|")


def percent(found: npt.NDArray[np.bool_]) -> str:
    """Write a share of families or comparisons, with its standard error."""
    share = found.mean()
    return f"{100 * share:.1f} ({100 * np.sqrt(share * (1 - share) / len(found)):.1f})"


def print_errors(spreads: dict[str, tuple[float, ...]], options: argparse.Namespace) -> None:
    """Print the share of families with a false better or worse, and of false *practically equal*."""
    rng = np.random.default_rng(options.seed)
    print(
        "\nEqual methods: families with a false better or worse; a true difference of "
        f"{ROPE:g}: comparisons that are called practically equal. Per cent, standard errors in brackets; "
        "at most 5 should be.\n"
    )
    head("differences", "spread between folds", "repeats", "false better or worse", "false practically equal")
    levels = {f"{spread:.3f}": np.full(TESTS, spread) for spread in (0.003, 0.01, 0.03)}
    levels |= {f"as {name}": np.array(values) for name, values in spreads.items()}
    for (name, values), repeats in product(levels.items(), REPEATS):
        wrong = [
            np.isin(judge(simulate(0.0, values, repeats, CHUNK, rng)), [BETTER, WORSE]).any(axis=1)
            for _ in range(max(1, options.families // CHUNK))
        ]
        edge = judge(simulate(ROPE, values, repeats, CHUNK, rng))
        said = percent((edge == EQUAL).ravel())
        row("simulated", name, str(repeats), percent(np.concatenate(wrong)), said)
    for repeats in REPEATS:
        tables = options.tables
        equal = refit(0.0, repeats, tables, rng)
        share = ROPE / _accuracy_lost(rng)
        edge = refit(share, repeats, tables, rng)
        for metric in equal:
            wrong = np.isin(judge(equal[metric]), [BETTER, WORSE]).any(axis=1)
            spread = np.median(equal[metric].std(axis=2, ddof=1))
            true = abs(edge[metric].mean())
            said = percent((judge(edge[metric]) == EQUAL).ravel()) + f" (true difference {true:.4f})"
            row(f"refitted, {metric}", f"{spread:.4f}", str(repeats), percent(wrong), said)


def _accuracy_lost(rng: np.random.Generator) -> float:
    """Return how much accuracy is lost by spoiling every answer, from twenty tables."""
    k = len(ROWS_PER_CLASS)
    right = np.mean(
        [data.scores(data.predictions())["accuracy"].mean() for data in (Refits(rng, 1) for _ in range(20))]
    )
    return float(right - (1 - right) / (k - 1))


def print_power(spreads: dict[str, tuple[float, ...]], seed: int) -> None:
    """Print the share of true differences that are shown."""
    rng = np.random.default_rng(seed)
    print(
        "\nTrue differences of a sampler to none that are shown, per cent of comparisons, at the spreads of "
        "a real run.\n"
    )
    many = [
        f"{true:g}, {'five folds' if repeats == 1 else f'--repeats {repeats}'}"
        for true, repeats in product(TRUE_DIFFERENCES, REPEATS)
    ]
    head("score", "spread: least, median, most", *many)
    for name, values in spreads.items():
        shown = [
            (judge(simulate(true, np.array(values), repeats, CHUNK, rng)) == BETTER).mean()
            for true, repeats in product(TRUE_DIFFERENCES, REPEATS)
        ]
        ends = f"{min(values):.4f}, {np.median(values):.4f}, {max(values):.4f}"
        row(name, ends, *(f"{100 * share:.0f}" for share in shown))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--families", type=int, default=200_000)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.process_time()
    spreads = spreads_of(options.run) if options.run else SPREADS
    for name, values in spreads.items():
        print(f"spread of {name}: {', '.join(f'{value:.4f}' for value in values)}")
    checked = check_against_skinmnist(np.random.default_rng(options.seed))
    print(f"{checked} families have the same verdicts here and in skinmnist")
    print_errors(spreads, options)
    print_power(spreads, options.seed)
    print(f"\n{time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()
