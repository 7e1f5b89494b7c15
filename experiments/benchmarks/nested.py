"""How much choosing the settings of `svm` on the reported folds lifts its score: optimism of selection.

python experiments/benchmarks/nested.py CSV [--seed 0] [--inner 3]

Settings are a penalty C of `PENALTIES` and an exponent of the class prior (the threshold). They are chosen
twice for each score, by lesion: *on the same folds* takes the settings with the best mean over the held-out
parts of all outer folds, and reports that mean, as one who tunes and reports on one cross-validation does;
*nested* chooses them for each outer fold by the pooled held-out rows of inner folds of its training part
alone (Varma & Simon, BMC Bioinformatics 7, 2006). Optimism is the difference, fold by fold.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from skinmnist import PixelTable, load_hmnist
from skinmnist.experiment.cells import Cell, CellResult, Timing
from skinmnist.experiment.derived.tuning import EXPONENTS, counts_by_exponent
from skinmnist.experiment.fit_cell import cell_seeds
from skinmnist.experiment.metrics import balanced_accuracy, macro_f1
from skinmnist.experiment.splits import assign_folds, inner_folds
from skinmnist.experiment.training import fit_model
from skinmnist.models.registry import MODELS
from skinmnist.models.spec import Setting
from skinmnist.resampling.registry import AS_THEY_ARE

FOLDS = 5
#: 5 is that of `svm`.
PENALTIES = (1.0, 2.0, 5.0, 10.0)
CELL = Cell("none", "svm", repeat=0, fold=0)
METRICS = {"macro-F1": macro_f1, "balanced accuracy": balanced_accuracy}

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def count_settings(
    table: PixelTable, features: Floats, train: Rows, held_out: Rows, seeds: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Train on some rows, answer others; count true and predicted classes, (penalties, exponents, k, k)."""
    labels, k = np.asarray(table.labels), len(table.class_names)
    lesions = None if table.lesion_ids is None else table.lesion_ids[train]
    setting, sampler = Setting(table.shape, k, len(train), seeds[1]), AS_THEY_ARE.with_seed(seeds[0])
    mix = np.bincount(labels[train], minlength=k) / len(train)
    timing, counts = Timing(len(train), len(train), 0.0, 0.0, 0.0, 0.0), []
    for penalty in PENALTIES:
        spec = replace(MODELS["svm"], classifier=with_penalty(penalty))
        trained = fit_model(spec, sampler, setting, features[train], labels[train], lesions)
        answers = trained.answer(features[held_out])
        rows = (CELL, held_out, labels[held_out], answers)
        counts.append(counts_by_exponent(CellResult(*rows, timing, mix, mix, mix, trained.training_mix)))
    return np.stack(counts)


def with_penalty(penalty: float) -> Callable[[Setting], object]:
    """Return a builder of `svm` with another penalty."""
    return lambda setting: MODELS["svm"].classifier(setting).set_params(C=penalty)


def count_folds(table: PixelTable, seed: int, n_inner: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Count the held-out rows of every outer fold, and those of the inner folds of its training part."""
    svm = MODELS["svm"]
    features = svm.features.extract(table.pixels, table.shape)
    fold_of = assign_folds(table, FOLDS, seed=seed)[0]
    outer, inner = [], []
    for fold in range(FOLDS):
        train, held_out = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        seeds = cell_seeds(seed, CELL._replace(fold=fold))
        outer.append(count_settings(table, features, train, held_out, seeds))
        parts = inner_folds(table.labels[train], table.lesion_ids[train], n_inner, seed)
        inner.append(sum(count_settings(table, features, train[a], train[b], seeds) for a, b in parts))
    return np.stack(outer), np.stack(inner)


def best(scores: Floats) -> tuple[int, int]:
    """Return the places of penalty and exponent with the highest of the scores (penalties, exponents)."""
    penalty, exponent = np.unravel_index(scores.round(12).argmax(), scores.shape)
    return int(penalty), int(exponent)


def words(chosen: list[tuple[int, int]]) -> str:
    """Name the settings chosen, each once."""
    names = (f"{PENALTIES[penalty]:g}, {EXPONENTS[exponent]:.2f}" for penalty, exponent in chosen)
    return "; ".join(dict.fromkeys(names))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("csv", help="a pixel table, its metadata beside it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inner", type=int, default=3, help="inner folds of each training part")
    options = parser.parse_args()
    table = load_hmnist(options.csv)
    if table.lesion_ids is None:
        parser.error("expected a table with lesion ids; put HAM10000_metadata.csv beside it")
    with threadpool_limits(1):
        outer, inner = count_folds(table, options.seed, options.inner)
    print(
        f"svm, {len(PENALTIES)} penalties x {len(EXPONENTS)} exponents, {FOLDS} folds by lesion, "
        f"{options.inner} inner, seed {options.seed}; mean ± sd over folds\n"
    )
    print("| score | on the same folds | C, exponent | nested | C, exponent | optimism |")
    print("|---|---|---|---|---|---|")
    for name, metric in METRICS.items():
        scores = metric(outer)
        same = [best(scores.mean(axis=0))] * FOLDS
        nested = [best(of_fold) for of_fold in metric(inner)]
        reported, honest = (
            np.array([scores[fold, *place] for fold, place in enumerate(chosen)]) for chosen in (same, nested)
        )
        cells = [
            f"{v.mean():{sign}.4f} ± {v.std(ddof=1):.4f}"
            for v, sign in ((reported, ""), (honest, ""), (reported - honest, "+"))
        ]
        print(f"| {name} | {cells[0]} | {words(same)} | {cells[1]} | {words(nested)} | {cells[2]} |")
    print(f"\n{time.process_time():.0f} CPU s")


if __name__ == "__main__":
    main()
