"""What each method of the study changes, from the committed files: tests, means, costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from collect import Collected, read_collected

from skinmnist.analysis.significance import BETTER, EQUAL, LEVEL, UNDECIDED, WORSE, compare_samplers, joined

VERDICTS = (BETTER, EQUAL, UNDECIDED, WORSE)


class Question(NamedTuple):
    """A score under a decision rule, and the reference of every method, which may have its own rule."""

    rule: str
    metric: str
    against: str = "none"
    against_rule: str = ""


#: Does the method rank pictures better, whatever the threshold?
RANKING = Question("natural_prior", "macro_auc")
#: ... by its probabilities as trained, which no prior has moved?
RANKING_AS_TRAINED = Question("as_trained", "macro_auc")
#: The same at the natural prior, by average precision.
PRECISION = Question("natural_prior", "macro_average_precision")
#: Are its decisions, as trained, better than those of the plain model?
AS_TRAINED = Question("as_trained", "macro_f1")
AS_TRAINED_BALANCED = Question("as_trained", "balanced_accuracy")
#: ... and than those of the plain model with a tuned threshold, which costs no training?
CONTROL = Question("as_trained", "macro_f1", "tuned_plain")
#: ... and by balanced accuracy, at which most methods aim, than the plain model tuned for that?
CONTROL_BALANCED = Question("as_trained", "balanced_accuracy", "none", "tuned_balanced_accuracy")
#: Are its decisions better if both sides are tuned?
TUNED = Question("tuned_macro_f1", "macro_f1")
TUNED_BALANCED = Question("tuned_balanced_accuracy", "balanced_accuracy")
#: Are its probabilities worse, as trained and at the natural prior?
ECE = Question("as_trained", "ece")
ECE_NATURAL = Question("natural_prior", "ece")
LOSS_NATURAL = Question("natural_prior", "log_loss")

#: Real tables with folds, in the order of the page.
GROUPS = {
    "8x8": "8 × 8",
    "28x28": "28 × 28",
    "8x8-networks": "Networks at 8 × 8",
    "28x28-networks": "Networks at 28 × 28",
}
#: Models that balance their own samples are methods on top of the plain model of their kind.
BALANCED_ENSEMBLES = {
    "balanced_random_forest": "random_forest",
    "balanced_bagging": "random_forest",
    "easy_ensemble": "hist_gradient_boosting",
    "rus_boost": "hist_gradient_boosting",
}
#: Undersamplers that leave few rows, or rows chosen for being hard.
HARSH = ("RandomUnderSampler", "NearMiss", "EditedNearestNeighbours", "ClusterCentroids")
_ON = " on "
SECONDS = ["resample_seconds", "fit_seconds", "predict_seconds", "shared_seconds"]
CELL = ["sampler", "model", "repeat", "fold"]


@dataclass(frozen=True)
class Study:
    """The committed results."""

    collected: Collected

    @classmethod
    def read(cls, folder: Path) -> Study:
        """Read the committed files."""
        return cls(read_collected(folder))

    @property
    def parts(self) -> pd.DataFrame:
        """One row for each run."""
        return self.collected.parts

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The finished cells, with their group.

        Balanced ensembles are methods of their plain model. On synthetic tables, the table is part of the
        name of the model, so that all tables are one family of tests.
        """
        cells, parts = self.collected.results, self.parts.set_index("part")
        # A repeat of a pair that was interrupted would be compared on the folds that happened to come first.
        ended = cells.groupby(["part", *CELL[:3]])["fold"].transform("size")
        cells = cells[(cells["status"] == "done") & (ended == cells["part"].map(parts["folds"]))]
        cells = cells.assign(group=cells["part"].map(parts["group"]))
        synthetic = cells["part"].isin(self.parts.loc[self.parts["table"] == "synthetic", "part"])
        cells["model"] = cells["model"].where(
            ~synthetic, [on_table(*key) for key in zip(cells["model"], cells["part"], strict=True)]
        )
        own = cells["model"].isin(list(BALANCED_ENSEMBLES)) & (cells["sampler"] == "none")
        plain = cells["model"].map(BALANCED_ENSEMBLES)
        return cells[own | ~cells["model"].isin(list(BALANCED_ENSEMBLES))].assign(
            sampler=cells["sampler"].where(~own, cells["model"]),
            model=cells["model"].where(~own, plain),
        )

    def group(self, group: str) -> pd.DataFrame:
        """The finished cells of the parts that are compared with each other."""
        return self.cells[self.cells["group"] == group]

    def has(self, group: str) -> bool:
        """Whether a group has cells."""
        return bool(len(self.group(group)))

    def models(self, group: str) -> list[str]:
        """The models of a group that were also trained without a method."""
        cells = self.group(group)
        return list(dict.fromkeys(cells.loc[cells["sampler"] == "none", "model"]))

    def with_subgroups(self, groups: Sequence[str]) -> tuple[str, str]:
        """Return the first group with scores by age, sex and site, and its model that ranks best."""
        found = self.collected.subgroups[["part", "model"]].drop_duplicates()
        for group in groups:
            parts = self.parts.loc[self.parts["group"] == group, "part"]
            known = set(found.loc[found["part"].isin(parts), "model"])
            if ranked := [model for model in self.by_strength(group) if model in known]:
                return group, ranked[-1]
        return groups[0], ""

    def plain_models(self, group: str) -> list[str]:
        """The models of a group without the names of their tables."""
        return list(dict.fromkeys(name.partition(_ON)[0] for name in self.models(group)))

    def by_strength(self, group: str) -> list[str]:
        """The models of a group in ascending order of their macro-AUC without a method."""
        scores = {model: self.mean(group, *RANKING[:2], "none", model) for model in self.models(group)}
        return sorted(scores, key=lambda model: scores[model])

    def methods(self, group: str) -> list[str]:
        """The methods of a group, in the order of the plan, without none and its tuned control."""
        return [
            name
            for name in dict.fromkeys(self.group(group)["sampler"])
            if name not in ("none", "tuned_plain")
        ]

    def folds(self, group: str) -> int:
        """Folds of one repeat."""
        return int(self.parts.loc[self.parts["group"] == group, "folds"].iloc[0])

    def compare(self, group: str, question: Question) -> pd.DataFrame:
        """Compare every method with the reference, over all models of a group: one family of tests.

        The result is that of `compare_samplers`. The two references are not methods, so no test is spent on
        them.
        """
        return _compare(self, group, question)

    def free_control(self, group: str, question: Question = AS_TRAINED) -> pd.DataFrame:
        """Compare ``tuned_plain`` and ``none`` over the models of a group: a family of its own."""
        cells = self.group(group)
        cells = cells[cells["sampler"].isin(["none", "tuned_plain"])]
        return _compared(cells, question, self.folds(group))

    def row(self, group: str, question: Question, method: str, model: str) -> dict[str, Any]:
        """Return one comparison; raises KeyError if it was not run."""
        rows = self.compare(group, question)
        found = rows[(rows["sampler"] == method) & (rows["model"] == model)]
        if found.empty:
            raise KeyError(f"{method} with {model} in {group}")
        return dict(found.iloc[0])

    def all_methods(self, groups: Sequence[str]) -> list[str]:
        """The methods of several groups."""
        return list(dict.fromkeys(name for group in groups for name in self.methods(group)))

    def verdicts(
        self, groups: str | Sequence[str], question: Question, models: list[str] | None = None
    ) -> dict[str, int]:
        """Count the verdicts of one family or of several, optionally of some models only."""
        groups = [groups] if isinstance(groups, str) else groups
        rows = joined([self.compare(group, question) for group in groups])
        rows = rows if models is None else rows[rows["model"].isin(models)]
        counts = rows["verdict"].value_counts()
        return {verdict: int(counts.get(verdict, 0)) for verdict in VERDICTS} | {"all": len(rows)}

    def significant(self, groups: Sequence[str], question: Question) -> tuple[int, int]:
        """Count p-values below `LEVEL` adjusted by Bonferroni, as for verdicts, and by Holm."""
        rows = joined([self.compare(group, question) for group in groups])
        return int((rows["p_simultaneous"] < LEVEL).sum()), int((rows["p_holm"] < LEVEL).sum())

    def share_of(
        self, groups: Sequence[str], question: Question, verdict: str, methods: Sequence[str]
    ) -> int:
        """Count the pairs with a verdict that belong to some methods."""
        rows = joined([self.compare(group, question) for group in groups])
        return int(((rows["verdict"] == verdict) & rows["sampler"].isin(methods)).sum())

    def mean(self, group: str, rule: str, metric: str, method: str, model: str | None = None) -> float:
        """Return the mean of a score over the cells of a method; models weigh alike."""
        cells = self.group(group)
        cells = cells[(cells["sampler"] == method) & (cells["model"].isin([model]) if model else True)]
        return float(cells.groupby("model")[f"{rule}.{metric}"].mean().mean())

    def seconds(self, group: str) -> pd.DataFrame:
        """Return the median seconds of a cell by model (rows) and method (columns)."""
        cells = self.group(group)
        total = cells.assign(seconds=cells[SECONDS].sum(axis=1))
        return total.pivot_table("seconds", "model", "sampler", aggfunc="median")

    @property
    def core_hours(self) -> float:
        """Sum of the seconds of all cells."""
        return float(self.parts["core_seconds"].sum()) / 3600

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@cache
def _compare(study: Study, group: str, question: Question) -> pd.DataFrame:
    cells = study.group(group)
    cells = cells[~cells["sampler"].isin({"none", "tuned_plain"} - {question.against})]
    return _compared(cells, question, study.folds(group))


def _compared(cells: pd.DataFrame, question: Question, folds: int) -> pd.DataFrame:
    value = cells[f"{question.rule}.{question.metric}"]
    if question.against_rule:
        reference = cells[f"{question.against_rule}.{question.metric}"]
        value = value.where(cells["sampler"] != question.against, reference)
    scores = cells[CELL].assign(rule=question.rule, metric=question.metric, value=value)
    return compare_samplers(
        scores.dropna(subset="value"),
        folds,
        question.against,
        [(question.rule, question.metric)],
    )


def on_table(model: str, part: str) -> str:
    """Return the name of a model on one of several tables."""
    return f"{model}{_ON}{part}"
