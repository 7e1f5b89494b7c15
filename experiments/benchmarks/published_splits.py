"""Print results on published splits beside published figures, as the Markdown tables of docs/results.md.

python experiments/benchmarks/published_splits.py RUN [RUN ...]

The runs are of `compare hmnist_28_28_RGB.csv --split dermamnist-c` and `--split dermamnist`, with --repeats 3
or one run for each seed. Every score is the mean over trainings with other seeds; its interval resamples the
lesions of the test part for all of them together. Nothing is trained.
"""

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinmnist.analysis.bootstrap import bootstrap_scores, intervals
from skinmnist.analysis.summaries import majority_scores
from skinmnist.experiment.run_folder.record import read_run
from skinmnist.reporting.format import fixed, model_title, sampler_title

#: What is made of the predictions of all models that were trained without a sampler.
ENSEMBLE, TITLE = "ensemble", "Ensemble of all models here"
METRICS = {"accuracy": "accuracy", "macro_auc": "macro-AUC", "macro_f1": "macro-F1"}
MEDMNIST = "Yang et al., Scientific Data 10, 41 (2023)"
CORRECTED = "Abhishek et al., Scientific Data 12, 196 (2025)"
PROTOTYPING = "Doerrich et al., Scientific Reports 15 (2025)"
#: Split -> method, accuracy, macro-AUC, source; ± is the standard deviation over three runs. Those of
#: DermaMNIST-C are means of the test scores in training_logs/DermaMNIST-C of the authors' repository
#: (kakumarabhishek/Corrected-Skin-Image-Datasets); those of Doerrich et al. stand in their repository's
#: assets/benchmark_results_dermamnist.png (sdoerrich97/rethinking-model-prototyping-MedMNISTPlus).
PUBLISHED = {
    "dermamnist-c": [
        ("ResNet-18, 28 x 28", ".825 ± .006", ".946 ± .003", CORRECTED),
        ("ResNet-50, 28 x 28", ".831 ± .019", ".943 ± .012", CORRECTED),
        ("ResNet-18, 224 x 224", ".847 ± .010", ".953 ± .001", CORRECTED),
        ("ResNet-50, 224 x 224", ".847 ± .005", ".948 ± .001", CORRECTED),
    ],
    "dermamnist": [
        ("ResNet-18, 28 x 28", ".735", ".917", MEDMNIST),
        ("Google AutoML Vision, 28 x 28", ".768", ".914", MEDMNIST),
        ("VGG16, 28 x 28", ".766 ± .003", ".927 ± .006", PROTOTYPING),
        ("DenseNet-121, 224 x 224", ".847 ± .005", ".963 ± .001", PROTOTYPING),
    ],
}
NOT_COMPARABLE = (
    "Pixels: the tables of these runs were resized by LANCZOS from thumbnails of 200 x 150; MedMNIST has "
    "other pixels of the same pictures.",
    "Choices: the settings of these models were chosen on folds of the same collection, test pictures "
    "included, which favours them.",
    "Val: the published networks were chosen by their scores on val; these models do not use it.",
    "Macro-F1: no published figure was found to set beside it.",
)


@dataclass(frozen=True)
class Result:
    """One pair of sampler and model on one split."""

    title: str
    trainings: int
    scores: dict[str, tuple[float, float, float]]


def predictions_of(records):
    """Put the predictions of several runs of one split below each other, each training a repeat."""
    frames, first = [], 0
    for record in records:
        frames.append(record.predictions.assign(repeat=record.predictions["repeat"] + first))
        first += record.info.repeats
    return pd.concat(frames, ignore_index=True)


def with_ensemble(predictions, class_names):
    """Add the geometric mean of the probabilities of all models without a sampler, training by training."""
    names, place = [f"p_{name}" for name in class_names], ["repeat", "fold", "row"]
    plain = predictions[predictions["sampler"] == "none"]
    logs = plain[place].join(np.log(plain[names].clip(lower=1e-9)))
    p = np.exp(logs.groupby(place)[names].mean())
    p = p.div(p.sum(axis=1), axis=0)
    joint = plain.drop_duplicates(place).drop(columns=names).set_index(place).join(p).reset_index()
    joint = joint.assign(model=ENSEMBLE, predicted=joint[names].to_numpy().argmax(axis=1))
    return pd.concat([predictions, joint[predictions.columns]], ignore_index=True)


def results(records, draws):
    """Return the mean scores of every pair with intervals over lesions, best macro-F1 first."""
    info = records[0].info
    predictions = with_ensemble(predictions_of(records), info.table.class_names)
    found = intervals(bootstrap_scores(predictions, info.table.class_names, records[0].lesions, draws))
    trainings = predictions.groupby(["sampler", "model"])["repeat"].nunique()
    rows = []
    for (sampler, model), own in found.groupby(["sampler", "model"], sort=False):
        scores = {row["metric"]: (row["value"], row["low"], row["high"]) for row in own.to_dict("records")}
        title = TITLE if model == ENSEMBLE else model_title(info, model)
        if sampler != "none":
            title += f", {sampler_title(info, sampler, model)}"
        rows.append(Result(title, int(trainings[sampler, model]), scores))
    return sorted(rows, key=lambda row: -row.scores["macro_f1"][0])


def print_split(records, draws):
    """Print the table of one split."""
    info = records[0].info
    parts = ", ".join(f"{part.name} {part.pictures:,}" for part in info.given.parts)
    print(f"### {info.given.name}: {parts}\n")
    if info.given.shared:
        print(f"{info.given.shared}\n")
    print(f"| method | trainings | {' | '.join(METRICS.values())} | source |")
    print("|---|---:|---:|---:|---:|---|")
    for row in results(records, draws):
        cells = [f"{fixed(v)} [{fixed(low)}, {fixed(high)}]" for v, low, high in map(row.scores.get, METRICS)]
        print(f"| {row.title} | {row.trainings} | {' | '.join(cells)} | this run |")
    majority = majority_scores(records[0]).groupby(["model", "metric"])["value"].mean()
    for name in dict.fromkeys(majority.index.get_level_values("model")):
        print(
            f"| {name} | 0 | {' | '.join(fixed(majority[name, metric]) for metric in METRICS)} | this run |"
        )
    for method, accuracy, area, source in PUBLISHED.get(info.given.name, []):
        print(f"| {method} | | {accuracy} | {area} | | {source} |")
    print()


def check_alike(records):
    """Refuse runs that cannot be averaged."""
    for record in records:
        one, other = records[0].info.protocol, record.info.protocol
        if (one.data, one.assignment) != (other.data, other.assignment):
            raise SystemExit(f"{record.folder} is of other data or parts than {records[0].folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders that skinmnist.compare has written")
    parser.add_argument("--draws", type=int, default=1000, help="replicates of the bootstrap")
    options = parser.parse_args()
    by_split: dict[str, list] = {}
    for folder in options.runs:
        record = read_run(folder)
        if record.info.given is None:
            raise SystemExit(f"{folder} is no run on a given split; add --split dermamnist-c to its command")
        by_split.setdefault(record.info.given.name, []).append(record)
    for records in by_split.values():
        check_alike(records)
        print_split(records, options.draws)
    print("What is not comparable:\n")
    for reason in NOT_COMPARABLE:
        print(f"- {reason}")


if __name__ == "__main__":
    main()
