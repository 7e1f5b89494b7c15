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
    RANKING: "macro-AUC",
    PRECISION: "macro-AP",
    TUNED: "macro-F1, both tuned",
    AS_TRAINED: "macro-F1 as trained",
    AS_TRAINED_BALANCED: "balanced accuracy as trained",
    ECE: "ECE as trained",
    JOINT: "balanced accuracy as trained, beside `balanced_batches`",
}
#: What a claim expects of a comparison: verdicts that agree, and verdicts that contradict.
GAIN = ((BETTER,), (EQUAL, WORSE))
NO_GAIN = ((EQUAL, WORSE), (BETTER,))
LOSS = ((WORSE,), (EQUAL, BETTER))


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
        """Return the comparisons that were run, over tables."""
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
        of += f" on {len(tables)} tables" if len(tables) > 1 else ""
        return f"{SCORES[self.question]}, {of}: {', '.join(words)}; {low} to {high}"

    def seen(self, study: Study, groups: Sequence[str]) -> str:
        """Say whether the comparisons agree: only verdicts count, and undecided ones count for nothing."""
        rows = self.rows(study, groups)
        if rows.empty:
            return "not run"
        agree, against = (int(rows["verdict"].isin(side).sum()) for side in self.expects)
        if agree == len(rows):
            return "yes"
        if not agree and not against:
            return "undecided"
        if against == len(rows):
            return "no"
        if not against:
            return f"in {agree} of {len(rows)}, the others undecided"
        return f"{agree} agree, {against} contradict, {len(rows) - agree - against} undecided"


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
        "balancing does not make boosted trees, a strong classifier, rank better",
        RANKING,
        OVER,
        NO_GAIN,
        ("hist_gradient_boosting",),
    ),
    Claim(_ELOR, "it makes an SVM, a weak classifier, rank better", RANKING, OVER, GAIN, ("svm",)),
    Claim(
        _ELOR,
        "balancing raises label scores at a fixed threshold",
        AS_TRAINED,
        OVER,
        GAIN,
    ),
    Claim(
        _ELOR,
        "... but not beyond those of a tuned threshold",
        TUNED,
        OVER,
        NO_GAIN,
    ),
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
        "a shifted threshold decides as well",
        TUNED,
        RANDOM,
        NO_GAIN,
        ("logistic_regression",),
    ),
    Claim(
        _KANG,
        "natural sampling learns features as good as those of balanced sampling",
        RANKING,
        ("balanced_batches", "sqrt_batches"),
        NO_GAIN,
        ("cnn",),
    ),
    Claim(
        _KANG,
        "a rebalanced last layer decides better than joint training on balanced batches",
        JOINT,
        ("crt", "tau_norm"),
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
