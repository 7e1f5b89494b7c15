"""Trials of classic models on descriptors of lesions: what was kept, and what lost.

Run it as ``python experiments/benchmarks/descriptor_trials.py --table TABLE.csv NAME ...`` for one or more
of the trials below; the rows are appended to ``descriptor_trials.csv`` beside this file. The folds are drawn
with another seed than those of reported results. Seconds are CPU seconds of one fit, on one thread of a
machine under load; differences under .01 on one fold are noise. Rows named "study: ..." come from scripts
that are not kept: their changes say what was tried, and on how many folds. The SVM's macro_auc is that of
its decision values, one against rest; in a comparison they are calibrated first.
Where the fold is a range, the row is the mean of those folds, as `skinmnist.compare` draws them with that
seed, and macro_auc is at the natural prior.
"""

import time
from pathlib import Path

import numpy as np
from imblearn.over_sampling import SMOTE
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from trials import keep_row, measured, read_options, split_rows

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.features.extract import extract_features
from skinmnist.features.transformer import Standardiser
from skinmnist.models.classic import Components, EvenForest

RESULTS = Path(__file__).with_name("descriptor_trials.csv")


def machine(axes, penalty, width):
    """Components kept, and the machine on them."""
    return axes, lambda: SVC(C=penalty, gamma=width / axes, decision_function_shape="ovr", cache_size=400)


#: Components kept (None: all numbers as they are), and a function that builds the classifier.
TRIALS = {
    "svm as shipped": machine(100, 5.0, 1.0),
    "svm, 80 axes": machine(80, 5.0, 1.0),
    "svm, 160 axes": machine(160, 5.0, 1.0),
    "svm, wider kernel": machine(100, 5.0, 0.5),
    "svm, narrower kernel": machine(100, 5.0, 2.0),
    "svm, C = 2": machine(100, 2.0, 1.0),
    "svm, wider kernel, C = 10": machine(100, 10.0, 0.5),
    "forest as shipped": (None, lambda: EvenForest(8012, max_features=16)),
    "forest, square root of the columns": (None, lambda: EvenForest(8012)),
    "forest, 12 columns": (None, lambda: EvenForest(8012, max_features=12)),
    "forest, leaves of 5": (None, lambda: EvenForest(8012, min_samples_leaf=5)),
    "extra trees, 80 columns": (
        None,
        lambda: ExtraTreesClassifier(
            100, min_samples_leaf=2, max_features=80, bootstrap=True, random_state=0
        ),
    ),
    "logistic regression as shipped": (None, lambda: LogisticRegression(C=0.02, max_iter=2000, tol=1e-3)),
    "boosting as shipped": (
        None,
        lambda: HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=15,
            max_features=0.2,
            max_bins=127,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=0,
        ),
    ),
    "boosting, 100 rounds of 31 leaves": (
        None,
        lambda: HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0),
    ),
}


def run_trial(numbers, table, name, options):
    """Fit and score one fold; return the measured columns of the table of trials."""
    train, test = split_rows(table, options)
    axes, build = TRIALS[name]
    scale = Standardiser() if axes is None else make_pipeline(Standardiser(), Components(axes))
    rows, labels = scale.fit_transform(numbers[train]), table.labels[train]
    if options.sampler == "SMOTE":
        rows, labels = SMOTE(random_state=0).fit_resample(rows, labels)
    model, start = build(), time.process_time()
    model.fit(rows, labels)
    seconds = time.process_time() - start
    unseen, truth = scale.transform(numbers[test]), table.labels[test]
    ranking = getattr(model, "predict_proba", None) or model.decision_function
    scores = ranking(unseen)
    areas = [roc_auc_score(truth == code, scores[:, code]) for code in range(scores.shape[1])]
    return measured(seconds, truth, model.predict(unseen), np.mean(areas))


def main():
    options = read_options(__doc__.splitlines()[0], list(TRIALS), ["none", "SMOTE"])
    table = load_hmnist(options.table)
    numbers = extract_features(np.asarray(table.pixels), table.shape)
    for name in options.names:
        keep_row(RESULTS, options, name, "", run_trial(numbers, table, name, options))


if __name__ == "__main__":
    main()
