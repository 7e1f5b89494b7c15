"""What may be claimed about a run, in words that follow from its tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.differences import BETTER, NOT_SHOWN, ROPE, TOO_FEW, WORSE
from skinmnist.analysis.prior_correction import PRIOR_CORRECTION
from skinmnist.experiment.run_folder.mistakes import best_pair
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import NOTHING, count, fixed, listing, model_title, sampler_title, signed

#: From this probability on, two scores count as equal in practice.
SURE = 0.95
CLAIMED = "macro_f1"
#: What a verdict becomes where its sides are exchanged.
TURNED = {BETTER: WORSE, WORSE: BETTER}


@dataclass(frozen=True)
class Claim:
    """A name, set in bold, and what is claimed about it."""

    subject: str
    words: str


@dataclass(frozen=True)
class Certainty:
    """How sure a run is: one sentence, then claims about samplers and about models, then remarks."""

    headline: str
    samplers: tuple[Claim, ...] = ()
    models: tuple[Claim, ...] = ()
    remarks: tuple[str, ...] = ()


def comparisons_with(
    comparisons: pd.DataFrame, against: str = "none", metric: str = CLAIMED, control: bool = False
) -> pd.DataFrame:
    """Select comparisons of samplers with `against`; the control is left out unless it is asked for."""
    rows = (comparisons["question"] == "sampler") & (comparisons["against"] == against)
    rows &= comparisons["metric"] == metric
    return comparisons[rows if control else rows & (comparisons["sampler"] != PRIOR_CORRECTION)]


def certainty(record: RunRecord, analysis: Analysis) -> Certainty:
    """Say which samplers and which models are better than which, and which differences are not shown.

    Parameters
    ----------
    record : RunRecord
    findings : Findings

    Returns
    -------
    Certainty
        Every word follows from the corrected tests of macro-F1.
    """
    rows = comparisons_with(analysis.comparisons)
    if rows.empty:
        return Certainty(_nothing_to_compare(record), models=tuple(_about_models(record, analysis)))
    return Certainty(
        _headline(rows),
        tuple(_about_samplers(record, rows)),
        tuple(_about_models(record, analysis)),
        (*_reach(rows), *_equal(record, rows), *_pictures_only(record, rows, analysis)),
    )


def _nothing_to_compare(record: RunRecord) -> str:
    if not record.results:
        return "No cell has finished, so nothing can be said yet."
    if "none" not in record.info.grid.samplers:
        return "This run has no training without a sampler, so no sampler can be held against it."
    if record.info.grid.samplers == ["none"]:
        return "This run has trained without a sampler only, so there is none to compare."
    return "No sampler has a finished fold in common with training without one, so none can be compared."


def _headline(rows: pd.DataFrame) -> str:
    found = rows["verdict"].value_counts()
    if len(rows) == 1:
        words = {
            BETTER: "shows a better macro-F1",
            WORSE: "shows a worse macro-F1",
            NOT_SHOWN: "shows no difference in macro-F1",
            TOO_FEW: "has too few folds to tell",
        }
        return f"The one comparison of a sampler with training without one {words[rows['verdict'].iloc[0]]}."
    phrases = {
        BETTER: ("shows", "show", "a better macro-F1"),
        WORSE: ("shows", "show", "a worse one" if BETTER in found else "a worse macro-F1"),
        NOT_SHOWN: ("shows", "show", "no difference"),
        TOO_FEW: ("has", "have", "too few folds to tell"),
    }
    parts = []
    for word, (one, many, rest) in phrases.items():
        if word in found:
            number = "all" if found[word] == len(rows) else f"{found[word]}"
            verb = one if number == "1" else many
            parts.append(f"{number} {verb} {rest}")
    return (
        f"Of {count(len(rows), 'comparison')} of a sampler with training without one, "
        f"judged by macro-F1, {listing(parts)}."
    )


def _about_samplers(record: RunRecord, rows: pd.DataFrame) -> list[Claim]:
    return [
        Claim(
            model_title(record.info, str(model)),
            _by_verdict(
                (row["verdict"], sampler_title(record.info, row["sampler"], str(model)), row["difference"])
                for row in of_model.to_dict("records")
            ),
        )
        for model, of_model in rows.groupby("model", sort=False)
    ]


def _by_verdict(outcomes: Any) -> str:
    """Join outcomes (verdict, name, difference): ``better with SMOTE (+0.113); ...``."""
    together: dict[str, list[str]] = {}
    for verdict, name, difference in outcomes:
        together.setdefault(verdict, []).append(f"{name} ({signed(difference)})")
    parts = [
        f"{word} with {listing(together[word])}"
        for word in (BETTER, WORSE, NOT_SHOWN, TOO_FEW)
        if word in together
    ]
    return f"{'; '.join(parts)}."


def _about_models(record: RunRecord, analysis: Analysis) -> list[Claim]:
    """Hold the model of the best pair against every other, sampler by sampler."""
    rows = analysis.comparisons
    rows = rows[(rows["question"] == "model") & (rows["metric"] == CLAIMED)]
    pair = best_pair(record.scores)
    if pair is None:
        return []
    best, claims = pair[1], []
    title = model_title(record.info, best)
    outcomes: dict[str, list[tuple[str, str, float]]] = {}
    for row in rows.to_dict("records"):
        if best in (row["model"], row["against"]):
            first = row["model"] == best
            other = row["against"] if first else row["model"]
            verdict = row["verdict"] if first else TURNED.get(row["verdict"], row["verdict"])
            gap = row["difference"] if first else -row["difference"]
            # The bare name: the two models may have met the sampler in different spaces.
            outcomes.setdefault(other, []).append((verdict, row["sampler"], gap))
    for other, found in outcomes.items():
        claims.append(Claim(f"{title} against {model_title(record.info, other)}", _by_verdict(found)))
    return claims


def _reach(rows: pd.DataFrame) -> list[str]:
    half = ((rows["high"] - rows["low"]) / 2).to_numpy(dtype=float)
    half = half[(rows["verdict"] != TOO_FEW).to_numpy()]
    if not len(half) or (rows["verdict"] != NOT_SHOWN).all():
        return []
    folds = rows["folds"].max()
    return [
        f"“{NOT_SHOWN.capitalize()}” is a result, and no proof of equality: over {count(folds, 'fold')}, "
        f"half of the intervals reach {fixed(float(np.median(half)))} or more to either side, and a "
        "difference smaller than its interval cannot show."
    ]


def _equal(record: RunRecord, rows: pd.DataFrame) -> list[str]:
    equal = rows[rows["equivalent"] >= SURE]
    if equal.empty:
        return []
    return [
        f"Equal in practice, by at least {100 * SURE:.0f} % probability of a difference within ±{ROPE:g} of "
        f"training without a sampler: {listing(_pairs(record, equal))}."
    ]


def _pictures_only(record: RunRecord, rows: pd.DataFrame, analysis: Analysis) -> list[str]:
    """Name the differences that outlast other pictures, but are not shown to outlast other trainings."""
    over = analysis.difference_intervals
    over = over[over["metric"] == CLAIMED]
    clear = over[(over["low"] > 0) | (over["high"] < 0)]
    both = rows[rows["verdict"] == NOT_SHOWN].merge(clear[["sampler", "model"]], on=["sampler", "model"])
    if both.empty:
        return []
    return [
        f"For {listing(_pairs(record, both))}, the thin line leaves zero out and the verdict still stands "
        "open: the models that were trained here differ by more than the luck of the pictures, but trained "
        "on other pictures they might not."
    ]


def _pairs(record: RunRecord, rows: pd.DataFrame) -> list[str]:
    return [
        f"{sampler_title(record.info, sampler, model)} with {model_title(record.info, model)}"
        for sampler, model in rows[["sampler", "model"]].itertuples(index=False)
    ]


def evidence(row: Any) -> str:
    """Write what a verdict rests on: ``95 % interval over 5 folds −0.003 to +0.070, p = 0.26 ...``."""
    if row["verdict"] == TOO_FEW:
        return f"{count(row['folds'], 'fold')} in common, too few to tell"
    tests = f" after correction for {row['tests']} comparisons" if row["tests"] > 1 else ""
    return (
        f"95 % interval over {count(row['folds'], 'fold')} from {signed(row['low'])} to "
        f"{signed(row['high'])}, p {probability(row['p_holm'])}{tests}"
    )


def probability(p: float) -> str:
    """Write a p-value: ``= 0.259`` or ``< 0.001``; a dash where it could not be computed."""
    if np.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"= {fixed(p)}"
