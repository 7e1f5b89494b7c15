"""The default comparison as a careful student would write it: the yardstick for `skinmnist.compare`.

Run it as ``python experiments/benchmarks/naive.py TABLE.csv --out naive.csv``. Pixels, scikit-learn's and
imbalanced-learn's own pipelines, and Keras ``fit``; the sampler works inside the folds, and the folds are the
same as in a comparison of the same seed. Each finished cell is added to the file at once, and a cell that
stands there already is not run again. Some cells take many minutes, so that ``--folds 0`` with one sampler
and one model is a start; `against_naive.py` then puts the file beside a run folder.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.experiment.execution.machine import PeakMemory
from skinmnist.experiment.splits import assign_folds, choose_split

EPOCHS, BATCH = 30, 64
COLUMNS = ("sampler", "model", "repeat", "fold", "metric", "value")


def make_samplers(seed):
    """The sampler of each name, or None."""
    return {
        "none": None,
        "RandomOverSampler": RandomOverSampler(random_state=seed),
        "SMOTE": SMOTE(random_state=seed),
    }


def fit_svm(sampler, rows, labels, shape, seed):
    """Fit a support vector machine on standardised pixels; return what scores rows, one column a class."""
    model = make_pipeline(sampler or "passthrough", StandardScaler(), SVC()).fit(rows, labels)
    return model.decision_function


def fit_forest(sampler, rows, labels, shape, seed):
    """Fit 100 trees on pixels; return what scores rows."""
    forest = RandomForestClassifier(100, random_state=seed)
    return make_pipeline(sampler or "passthrough", forest).fit(rows, labels).predict_proba


def fit_cnn(sampler, rows, labels, shape, seed):
    """Fit a small Keras network with Keras' own ``fit``; return what scores rows."""
    import keras
    from keras import layers

    if sampler is not None:
        rows, labels = sampler.fit_resample(rows, labels)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(int(labels.max()) + 1, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(rows.reshape(-1, *shape), labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return lambda unseen: model.predict(unseen.reshape(-1, *shape), verbose=0)


MODELS = {"svm": fit_svm, "random_forest": fit_forest, "cnn": fit_cnn}


def run_cell(table, fold_of, sampler, model, fold, seed):
    """Train and score one cell; return its scores and its price by name."""
    train, held_out = fold_of != fold, fold_of == fold
    # SMOTE on uint8 would wrap around.
    rows, labels = table.pixels[train].astype(np.float32), np.asarray(table.labels[train])
    if model == "cnn":
        import keras  # noqa: F401  Imported before the clock starts.
    wall, core = time.perf_counter(), time.process_time()
    with PeakMemory(children=False, interval=0.05) as peak:
        score = MODELS[model](make_samplers(seed)[sampler], rows, labels, table.shape, seed)
        found = score(table.pixels[held_out].astype(np.float32))
    wall, core = time.perf_counter() - wall, time.process_time() - core
    truth, predicted = table.labels[held_out], found.argmax(axis=1)
    areas = [roc_auc_score(truth == code, found[:, code]) for code in range(found.shape[1])]
    return {
        "accuracy": accuracy_score(truth, predicted),
        "balanced_accuracy": balanced_accuracy_score(truth, predicted),
        "macro_f1": f1_score(truth, predicted, average="macro", zero_division=0),
        "macro_auc": float(np.mean(areas)),
        "wall_seconds": wall,
        "core_seconds": core,
        "peak_rss_mb": peak.megabytes,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="a pixel table, its metadata beside it")
    parser.add_argument("--out", type=Path, default=Path("naive.csv"))
    parser.add_argument(
        "--samplers", nargs="+", choices=list(make_samplers(0)), default=list(make_samplers(0))
    )
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = load_hmnist(options.table)
    fold_of = assign_folds(table, 5, 1, choose_split(table, None), options.seed)[0]
    done = set()
    if options.out.exists():
        with options.out.open(newline="") as file:
            done = {(row["sampler"], row["model"], int(row["fold"])) for row in csv.DictReader(file)}
    for fold in options.folds:
        for model in options.models:
            for sampler in options.samplers:
                if (sampler, model, fold) in done:
                    continue
                measured = run_cell(table, fold_of, sampler, model, fold, options.seed)
                print(sampler, model, fold, {k: round(v, 3) for k, v in measured.items()}, flush=True)
                with options.out.open("a", newline="") as file:
                    writer = csv.writer(file, lineterminator="\n")
                    if file.tell() == 0:
                        writer.writerow(COLUMNS)
                    writer.writerows((sampler, model, 0, fold, *item) for item in measured.items())


if __name__ == "__main__":
    main()
