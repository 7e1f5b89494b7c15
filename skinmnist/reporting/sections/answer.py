"""The answer on top of the page: what the numbers of this run say, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.differences import BETTER, NOT_SHOWN, TOO_FEW, WORSE
from skinmnist.analysis.prior_correction import PRIOR_CORRECTION
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import base_model, count, fixed, listing, with_spread
from skinmnist.reporting.sections.conclusions import comparisons_with, evidence

#: What a verdict on the best pair comes to, within a sentence.
_IN_BRIEF = {
    BETTER: "better",
    WORSE: "not better in the folds they share",
    NOT_SHOWN: NOT_SHOWN,
    TOO_FEW: "too few folds to tell",
}


@dataclass(frozen=True)
class Answer:
    """One sentence, in two parts so that the first can be set in bold, and what it must not be taken for."""

    best: str
    finding: str
    remarks: tuple[str, ...] = ()


def answer(record: RunRecord, board: pd.DataFrame, analysis: Analysis) -> Answer:
    """Say which pair has the highest mean macro-F1, by how much, and how sure that is.

    Parameters
    ----------
    record : RunRecord
    board : DataFrame
        Of `tables.leaderboard`.
    findings : Findings

    Returns
    -------
    Answer
        What is said about differences follows from the corrected tests.
    """
    pairs = board[~board["reference"]]
    if pairs.empty:
        return Answer("No cell has finished,", "so there is nothing to compare yet.")
    best = pairs.iloc[0]
    verb = (
        f"has the highest mean macro-F1 of {len(pairs)} pairs,"
        if len(pairs) > 1
        else "has a mean macro-F1 of"
    )
    finding = f"{verb} {with_spread(best['macro_f1'], best['macro_f1_sd'])}"
    gaps = [
        *_above_none(pairs, best, analysis),
        *_above_base(pairs, best, base_model(record.info, best["model"])),
        *_above_majority(board, best),
    ]
    if gaps:
        finding += f": that is {listing(gaps)}"
    remarks = [
        *_ties(pairs, best),
        *_test_against_none(best, analysis),
        *_no_gain(pairs, best, analysis),
        *_test_against_control(best, analysis),
        *_spread(best),
    ]
    return Answer(_pair_name(best), f"{finding}.", tuple(remarks))


def _pair_name(row: Any) -> str:
    if row["sampler"] == "none":
        return f"{row['model_title']} without any remedy"
    return f"{row['sampler_title']} with {row['model_title']}"


def _same_model(pairs: pd.DataFrame, best: Any, without: bool) -> pd.DataFrame:
    """Return the rivals with the model of the best pair, without a sampler or with one."""
    return pairs[(pairs["model"] == best["model"]) & ((pairs["sampler"] == "none") == without)]


def _comparison(analysis: Analysis, sampler: str, model: str, against: str) -> Any:
    """Return the row of one comparison of macro-F1, or None."""
    rows = comparisons_with(analysis.comparisons, against, control=True)
    rows = rows[(rows["sampler"] == sampler) & (rows["model"] == model)]
    return None if rows.empty else rows.iloc[0]


def _above_none(pairs: pd.DataFrame, best: Any, analysis: Analysis) -> list[str]:
    none = _same_model(pairs, best, without=True)
    if best["sampler"] == "none" or none.empty:
        return []
    row = none.iloc[0]
    gap = fixed(best["macro_f1"] - row["macro_f1"])
    comparison = _comparison(analysis, best["sampler"], best["model"], "none")
    verdict = "" if comparison is None else f"; {_IN_BRIEF[comparison['verdict']]}"
    value = with_spread(row["macro_f1"], row["macro_f1_sd"])
    return [f"{gap} above the same model without a sampler ({value}{verdict})"]


def _above_base(pairs: pd.DataFrame, best: Any, base: str) -> list[str]:
    same = pairs[(pairs["model"] == base) & (pairs["sampler"] == best["sampler"])]
    if same.empty:
        return []
    row = same.iloc[0]
    gap = fixed(best["macro_f1"] - row["macro_f1"])
    value = with_spread(row["macro_f1"], row["macro_f1_sd"])
    return [f"{gap} above the same training without clinical columns ({value})"]


def _above_majority(board: pd.DataFrame, best: Any) -> list[str]:
    reference = board[board["reference"]]
    if reference.empty:
        return []
    line = reference.iloc[0]
    gap = best["macro_f1"] - line["macro_f1"]
    where = "above" if gap >= 0 else "below"
    class_name = str(line["model"]).removeprefix("always ")
    return [f"{fixed(abs(gap))} {where} always answering {class_name} ({fixed(line['macro_f1'])})"]


def _ties(pairs: pd.DataFrame, best: Any) -> list[str]:
    level = pairs.iloc[1:][pairs.iloc[1:]["macro_f1"].round(3) == round(best["macro_f1"], 3)]
    names = [_pair_name(row) for row in level.to_dict("records")]
    if not names:
        return []
    return [f"To three decimals, {listing(names)} {'reaches' if len(names) == 1 else 'reach'} the same."]


def _no_gain(pairs: pd.DataFrame, best: Any, analysis: Analysis) -> list[str]:
    others = _same_model(pairs, best, without=False)
    if best["sampler"] != "none" or others.empty:
        return []
    closest = others.iloc[0]
    value = with_spread(closest["macro_f1"], closest["macro_f1_sd"])
    remark = f"No sampler raised it: with this model, {closest['sampler_title']} comes closest ({value})."
    row = _comparison(analysis, closest["sampler"], best["model"], "none")
    return [remark if row is None else f"{remark} {row['verdict'].capitalize()}: {evidence(row)}."]


def _test_against_none(best: Any, analysis: Analysis) -> list[str]:
    row = _comparison(analysis, best["sampler"], best["model"], "none")
    if row is None:
        return []
    words = {
        BETTER: "The difference to training without a sampler holds",
        WORSE: "In the folds that both have finished, training without a sampler is better",
        NOT_SHOWN: "The difference to training without a sampler may be chance",
        TOO_FEW: "Whether the difference to training without a sampler holds, this run cannot tell",
    }
    return [f"{words[row['verdict']]}: {evidence(row)}."]


def _test_against_control(best: Any, analysis: Analysis) -> list[str]:
    """Set the best pair beside the control, from whichever side the comparison was made."""
    if best["sampler"] == "none":
        row = _comparison(analysis, PRIOR_CORRECTION, best["model"], "none")
        control, words = "value", {BETTER: "better", WORSE: "worse"}
    else:
        row = _comparison(analysis, best["sampler"], best["model"], PRIOR_CORRECTION)
        control, words = "against_value", {BETTER: "worse", WORSE: "better"}
    if row is None:
        return []
    told = words.get(row["verdict"], row["verdict"])
    return [
        f"Prior correction, a control that trains nothing, reaches {fixed(row[control])} with this model: "
        f"{told} ({evidence(row)})."
    ]


def _spread(best: Any) -> list[str]:
    if best["cells"] < 2:
        return ["It stands on a single held-out fold, so its spread is unknown."]
    return [f"The figure after ± is the standard deviation over the {count(best['cells'], 'held-out fold')}."]
