"""Claims of the literature beside what the study finds: each with the comparisons that bear on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from effects import (
    AS_TRAINED,
    AS_TRAINED_BALANCED,
    BALANCED_ENSEMBLES,
    ECE,
    PRECISION,
    RANKING,
    RANKING_AS_TRAINED,
    TUNED,
    Question,
    Study,
)

from skinmnist.analysis.significance import BETTER, EQUAL, UNDECIDED, WORSE, joined
from skinmnist.reporting.format import signed

RANDOM = ("RandomOverSampler", "SMOTE", "RandomUnderSampler")
OVER = ("RandomOverSampler", "SMOTE", "ADASYN", "BorderlineSMOTE")
#: Do decoupled networks decide better than networks trained on balanced batches?
JOINT = Question(*AS_TRAINED_BALANCED[:2], "balanced_batches")
#: Words for the scores.
SCORES = {
    RANKING: "macro-AUC at the natural prior",
    RANKING_AS_TRAINED: "macro-AUC as trained",
    PRECISION: "macro-AP at the natural prior",
    TUNED: "macro-F1, both tuned",
    AS_TRAINED: "macro-F1 as trained",
    AS_TRAINED_BALANCED: "balanced accuracy as trained",
    ECE: "ECE as trained",
    JOINT: "balanced accuracy as trained, beside `balanced_batches`",
}
#: What a claim expects of a comparison: verdicts that agree, and verdicts that contradict.
GAIN = ((BETTER,), (WORSE,))
NO_GAIN = ((EQUAL, WORSE), (BETTER,))
LOSS = ((WORSE,), (BETTER,))


@dataclass(frozen=True)
class Claim:
    """One claim, and the comparisons that it predicts; without `models`, those of all models."""

    paper: str
    text: str
    question: Question
    methods: tuple[str, ...]
    expects: tuple[Sequence[str], Sequence[str]]
    models: tuple[str, ...] = ()

    def rows(self, study: Study, groups: Sequence[str]) -> pd.DataFrame:
        """Return the comparisons that were run, over all runs."""
        frames = []
        for group in groups:
            found = study.compare(group, self.question)
            models = self.models or tuple(study.models(group))
            found = found[found["sampler"].isin(self.methods) & found["model"].isin(models)]
            frames.append(found.assign(group=group))
        return joined(frames)

    def evidence(self, study: Study, groups: Sequence[str]) -> str:
        """Count the verdicts, and give the range of the differences."""
        rows = self.rows(study, groups)
        if rows.empty:
            return f"{SCORES[self.question]}: not run"
        counts = rows["verdict"].value_counts()
        words = [
            f"{counts[verdict]} {verdict}"
            for verdict in (BETTER, EQUAL, UNDECIDED, WORSE)
            if verdict in counts
        ]
        low, high = signed(rows["difference"].min()), signed(rows["difference"].max())
        models, tables = (list(dict.fromkeys(rows[name])) for name in ("model", "group"))
        of = f"`{models[0]}`" if len(models) == 1 else f"{len(models)} models"
        of += f" in {len(tables)} runs" if len(tables) > 1 else ""
        return f"{SCORES[self.question]}, {of}: {', '.join(words)}; {low} to {high}"

    def seen(self, study: Study, groups: Sequence[str]) -> str:
        """Say whether the comparisons agree: only verdicts count, and undecided ones count for nothing."""
        rows = self.rows(study, groups)
        if rows.empty:
            return "not run"
        agree, against = (int(rows["verdict"].isin(side).sum()) for side in self.expects)
        undecided = int((rows["verdict"] == UNDECIDED).sum())
        small = len(rows) - agree - against - undecided
        if agree == len(rows):
            return "yes"
        if undecided == len(rows):
            return "undecided"
        if against == len(rows):
            return "no"
        counts = {"undecided": undecided, "agree": agree, "below .01": small, "contradict": against}
        return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


_ELOR = "Elor & Averbuch-Elor 2022"
_GOORBERGH = "van den Goorbergh et al. 2022"
_KANG, _BUDA, _BLAGUS, _CLIMB = (
    "Kang et al. 2020",
    "Buda et al. 2018",
    "Blagus & Lusa 2013",
    "CLIMB (Liu et al. 2025)",
)

CLAIMS = (
    Claim(
        _ELOR,
        "balancing does not make strong boosted trees (XGBoost, CatBoost) rank better",
        RANKING,
        OVER,
        NO_GAIN,
        ("hist_gradient_boosting",),
    ),
    Claim(_ELOR, "it makes an SVM, a weak classifier, rank better", RANKING, OVER, GAIN, ("svm",)),
    Claim(_ELOR, "balancing raises label scores at a fixed threshold", AS_TRAINED_BALANCED, OVER, GAIN),
    Claim(_ELOR, "the same, by another score", AS_TRAINED, OVER, GAIN),
    Claim(
        _ELOR,
        "for strong learners, not beyond those of a tuned threshold (here: tree ensembles)",
        TUNED,
        OVER,
        NO_GAIN,
        ("random_forest", "hist_gradient_boosting"),
    ),
    Claim(_ELOR, "for an SVM, beyond them", TUNED, OVER, GAIN, ("svm",)),
    Claim(
        _GOORBERGH,
        "resampling does not raise the AUC of logistic regression",
        RANKING,
        RANDOM,
        NO_GAIN,
        ("logistic_regression",),
    ),
    Claim(
        _GOORBERGH,
        "its probabilities are poorly calibrated",
        ECE,
        RANDOM,
        LOSS,
        ("logistic_regression",),
    ),
    Claim(
        _GOORBERGH,
        "a shifted threshold decides as well or better",
        TUNED,
        RANDOM,
        NO_GAIN,
        ("logistic_regression",),
    ),
    Claim(
        _KANG,
        "networks of natural batches rank as well as of balanced ones (a proxy; they compare features)",
        RANKING,
        ("balanced_batches", "sqrt_batches"),
        NO_GAIN,
        ("cnn",),
    ),
    Claim(
        _KANG,
        "a rebalanced last layer decides better than joint training on balanced batches",
        JOINT,
        ("crt",),
        GAIN,
        ("cnn",),
    ),
    Claim(
        _BUDA,
        "oversampling raises the AUC of convolutional networks",
        RANKING,
        ("RandomOverSampler", "balanced_batches"),
        GAIN,
        ("cnn",),
    ),
    Claim(
        _BUDA,
        "the same, without a change of prior",
        RANKING_AS_TRAINED,
        ("RandomOverSampler", "balanced_batches"),
        GAIN,
        ("cnn",),
    ),
    Claim(
        _BLAGUS,
        "with fewer columns than rows, SMOTE mostly reduces the bias to the majority class",
        AS_TRAINED_BALANCED,
        ("SMOTE",),
        GAIN,
    ),
    Claim(_CLIMB, "naive rebalancing does not raise the average precision", PRECISION, RANDOM, NO_GAIN),
    Claim(
        _CLIMB,
        "ensembles on undersampled data do",
        PRECISION,
        tuple(BALANCED_ENSEMBLES),
        GAIN,
    ),
)
