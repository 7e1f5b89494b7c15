"""The answer on top of the page: what the numbers of this run say, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from skinmnist.evaluation.record import RunRecord
from skinmnist.reporting.naming import base_model, count, fixed, listing, signed, with_spread
from skinmnist.reporting.tables import fold_scores


@dataclass(frozen=True)
class Answer:
    """One sentence, in two parts so that the first can be set in bold, and what it must not be taken for."""

    best: str
    finding: str
    remarks: tuple[str, ...] = ()


def answer(record: RunRecord, board: pd.DataFrame) -> Answer:
    """Say which pair has the highest mean macro-F1, and by how much.

    Parameters
    ----------
    record : RunRecord
    board : DataFrame
        Of `tables.leaderboard`.

    Returns
    -------
    Answer
        Nothing is said about significance.
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
        *_above_none(pairs, best),
        *_above_base(pairs, best, base_model(record.info, best["model"])),
        *_above_majority(board, best),
    ]
    if gaps:
        finding += f": that is {listing(gaps)}"
    remarks = [
        *_ties(pairs, best),
        *_no_gain(pairs, best),
        *_spread(best),
        *_fold_by_fold(record, pairs, best),
    ]
    return Answer(_pair_name(best), f"{finding}.", tuple(remarks))


def _pair_name(row: Any) -> str:
    sampler = "Training without any remedy" if row["sampler"] == "none" else row["sampler_title"]
    return f"{sampler} with {row['model_title']}"


def _same_model(pairs: pd.DataFrame, best: Any, without: bool) -> pd.DataFrame:
    """Return the rivals with the model of the best pair, without a sampler or with one."""
    return pairs[(pairs["model"] == best["model"]) & ((pairs["sampler"] == "none") == without)]


def _above_none(pairs: pd.DataFrame, best: Any) -> list[str]:
    none = _same_model(pairs, best, without=True)
    if best["sampler"] == "none" or none.empty:
        return []
    row = none.iloc[0]
    gap = fixed(best["macro_f1"] - row["macro_f1"])
    return [
        f"{gap} above the same model without a sampler ({with_spread(row['macro_f1'], row['macro_f1_sd'])})"
    ]


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


def _no_gain(pairs: pd.DataFrame, best: Any) -> list[str]:
    others = _same_model(pairs, best, without=False)
    if best["sampler"] != "none" or others.empty:
        return []
    closest = others.iloc[0]
    value = with_spread(closest["macro_f1"], closest["macro_f1_sd"])
    return [f"No sampler raised it: with this model, {closest['sampler_title']} comes closest ({value})."]


def _spread(best: Any) -> list[str]:
    if best["cells"] < 2:
        return ["It stands on a single held-out fold, so its spread is unknown."]
    return [f"The figure after ± is the standard deviation over the {count(best['cells'], 'held-out fold')}."]


def _fold_by_fold(record: RunRecord, pairs: pd.DataFrame, best: Any) -> list[str]:
    """Describe the differences to ``none`` in the folds that both have finished."""
    if best["sampler"] == "none" or _same_model(pairs, best, without=True).empty:
        return []
    scores = fold_scores(record, "macro_f1")
    scores = scores[scores["model"] == best["model"]]
    wide = scores.pivot_table(index=["repeat", "fold"], columns="sampler", values="value")
    gaps = (wide[best["sampler"]] - wide["none"]).dropna()
    if len(gaps) < 2:
        return []
    remarks = [
        f"Fold by fold, the difference to training without a sampler goes from {signed(gaps.min())} to "
        f"{signed(gaps.max())} and is above zero in {int((gaps > 0).sum())} of {len(gaps)}. The trainings "
        "share most of their pictures, so this describes the spread; it is no test of significance."
    ]
    if gaps.mean() < gaps.std():
        remarks.insert(
            0, "The gain over training without a sampler is smaller than its own spread over the folds."
        )
    return remarks
