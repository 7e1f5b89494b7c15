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

from skinmnist.analysis.significance import BETTER, EQUAL, UNDECIDED, WORSE
from skinmnist.reporting.format import signed

RANDOM = ("RandomOverSampler", "SMOTE", "RandomUnderSampler")
OVER = ("RandomOverSampler", "SMOTE", "ADASYN", "BorderlineSMOTE")
#: Words for the scores.
SCORES = {
    RANKING: "macro-AUC",
    PRECISION: "macro-AP",
    TUNED: "macro-F1, both tuned",
    AS_TRAINED: "macro-F1 as trained",
    AS_TRAINED_BALANCED: "balanced accuracy as trained",
    ECE: "ECE as trained",
}
#: What a claim expects of a comparison: verdicts that agree, and verdicts that contradict.
GAIN = ((BETTER,), (EQUAL, WORSE))
NO_GAIN = ((EQUAL, WORSE), (BETTER,))
LOSS = ((WORSE,), (EQUAL, BETTER))


@dataclass(frozen=True)
class Claim:
    """One claim, and the comparisons with none that it predicts.

    `models` are names, or ``strongest`` and ``weakest``: by macro-AUC without a method.
    """

    paper: str
    text: str
    question: Question
    methods: tuple[str, ...]
    expects: tuple[Sequence[str], Sequence[str]]
    models: tuple[str, ...] = ()

    def rows(self, study: Study, group: str) -> pd.DataFrame:
        """Return the comparisons that were run."""
        found = study.compare(group, self.question)
        ranked = study.by_strength(group)
        places = {"weakest": ranked[:1], "strongest": ranked[-1:]} if len(ranked) > 1 else {}
        models = [own for name in self.models or ranked for own in places.get(name, [name])]
        return found[found["sampler"].isin(self.methods) & found["model"].isin(models)]

    def evidence(self, study: Study, group: str) -> str:
        """Count the verdicts, and give the range of the differences."""
        rows = self.rows(study, group)
        if rows.empty:
            return f"{SCORES[self.question]}: not run"
        counts = rows["verdict"].value_counts()
        words = [
            f"{counts[verdict]} {verdict}"
            for verdict in (BETTER, EQUAL, UNDECIDED, WORSE)
            if verdict in counts
        ]
        low, high = signed(rows["difference"].min()), signed(rows["difference"].max())
        models = list(dict.fromkeys(rows["model"]))
        of = f"`{models[0]}`" if len(models) == 1 else f"{len(models)} models"
        return f"{SCORES[self.question]}, {of}: {', '.join(words)}; {low} to {high}"

    def seen(self, study: Study, group: str) -> str:
        """Say whether the comparisons agree: only verdicts count, and undecided ones count for nothing."""
        rows = self.rows(study, group)
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
        "balancing does not make a strong classifier rank better",
        RANKING,
        OVER,
        NO_GAIN,
        ("strongest",),
    ),
    Claim(_ELOR, "it makes a weak classifier rank better", RANKING, OVER, GAIN, ("weakest",)),
    Claim(
        _ELOR,
        "with a tuned threshold, balancing adds nothing to a strong classifier",
        TUNED,
        OVER,
        NO_GAIN,
        ("strongest",),
    ),
    Claim(
        _GOORBERGH,
        "resampling does not raise the AUC of logistic regression",
        RANKING,
        RANDOM,
        NO_GAIN,
        ("logistic_regression",),
    ),
    Claim(_GOORBERGH, "its probabilities are poorly calibrated", ECE, RANDOM, LOSS, ("logistic_regression",)),
    Claim(
        _GOORBERGH, "a shifted threshold decides as well", TUNED, RANDOM, NO_GAIN, ("logistic_regression",)
    ),
    Claim(
        _KANG,
        "natural sampling learns features as good as balanced sampling",
        RANKING,
        ("balanced_batches", "sqrt_batches"),
        NO_GAIN,
        ("cnn",),
    ),
    Claim(
        _KANG,
        "a rebalanced last layer is enough for balanced decisions",
        AS_TRAINED_BALANCED,
        ("crt", "tau_norm"),
        GAIN,
        ("cnn",),
    ),
    Claim(
        _BUDA,
        "oversampling raises the AUC of networks",
        RANKING,
        ("RandomOverSampler", "balanced_batches"),
        GAIN,
        ("cnn",),
    ),
    Claim(
        _BLAGUS,
        "with many columns, SMOTE does not free most classifiers from the majority class",
        AS_TRAINED_BALANCED,
        ("SMOTE",),
        NO_GAIN,
    ),
    Claim(_BLAGUS, "random undersampling does", AS_TRAINED_BALANCED, ("RandomUnderSampler",), GAIN),
    Claim(_CLIMB, "naive rebalancing does not raise the average precision", PRECISION, RANDOM, NO_GAIN),
    Claim(_CLIMB, "ensembles on undersampled data do", PRECISION, tuple(BALANCED_ENSEMBLES), GAIN),
)
