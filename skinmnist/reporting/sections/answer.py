"""The lead of the page: the answer of the run in one sentence, its key numbers, and what is unfinished."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.effects import effects
from skinmnist.analysis.operating_points import PRIOR_CORRECTION
from skinmnist.analysis.significance import BETTER, EQUAL, UNDECIDED, WORSE
from skinmnist.analysis.summaries import ALWAYS
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import (
    base_model,
    count,
    duration,
    evidence,
    fixed,
    listing,
    pair_title,
    titled,
    with_spread,
)
from skinmnist.reporting.sections.certainty import comparisons_with, with_control

#: A verdict on the best pair within a sentence.
_IN_BRIEF = {
    BETTER: "better",
    WORSE: "not better in the folds they share",
    EQUAL: EQUAL,
    UNDECIDED: UNDECIDED,
}


def context(analysis: Analysis) -> dict[str, Any]:
    """Return what the lead shows."""
    record = analysis.record
    return {
        "answer": answer(analysis),
        "key_numbers": key_numbers(record),
        "failed": failed_cells(record),
        "pending": pending_cells(record),
    }


@dataclass(frozen=True)
class Answer:
    """One sentence, in two parts so that the first can be set in bold, and its caveats."""

    best: str
    statement: str
    remarks: tuple[str, ...] = ()


def answer(analysis: Analysis) -> Answer:
    """Say which pair has the highest mean macro-F1, by how much, and what the verdicts say of that."""
    board = titled(analysis.record.info, analysis.leaderboard)
    board = board[~board["corrected"]]
    pairs = board[~board["reference"]]
    if pairs.empty:
        return Answer("No cell has finished,", "so there is nothing to compare yet.")
    best = pairs.iloc[0]
    verb = (
        f"has the highest mean macro-F1 of {len(pairs)} pairs,"
        if len(pairs) > 1
        else "has a mean macro-F1 of"
    )
    statement = f"{verb} {with_spread(best['macro_f1'], best['macro_f1_sd'])}"
    gaps = [
        *_above_none(pairs, best, analysis),
        *_above_base(pairs, best, base_model(analysis.record.info, best["model"])),
        *_above_majority(board, best),
    ]
    if gaps:
        statement += f": that is {listing(gaps)}"
    remarks = [
        *_ties(pairs, best),
        *_test_against_none(best, analysis),
        *_on_equal_terms(best, analysis),
        *_no_gain(pairs, best, analysis),
        *_test_against_correction(best, analysis),
        *_spread(best, _one_part(analysis.record)),
    ]
    return Answer(_pair_name(best), f"{statement}.", tuple(remarks))


def _pair_name(row: Any) -> str:
    if row["sampler"] == "none":
        return f"{row['model_title']} without a sampler"
    return f"{row['sampler_title']} with {row['model_title']}"


def _same_model(pairs: pd.DataFrame, best: Any, without: bool) -> pd.DataFrame:
    """Return the other pairs with the model of the best, without a sampler or with one."""
    return pairs[(pairs["model"] == best["model"]) & ((pairs["sampler"] == "none") == without)]


def _comparison(analysis: Analysis, sampler: str, model: str, against: str) -> Any:
    """Return the row of one comparison of macro-F1, or None."""
    rows = analysis.comparisons
    rows = with_control(rows) if against == "none" else comparisons_with(rows, against)
    rows = rows[(rows["sampler"] == sampler) & (rows["model"] == model)]
    return None if rows.empty else rows.iloc[0]


def _gap(best: Any, row: Any) -> tuple[str, str]:
    """Write how far the best pair is above another one, and the score of that one."""
    gap = fixed(best["macro_f1"] - row["macro_f1"])
    return gap, with_spread(row["macro_f1"], row["macro_f1_sd"])


def _above_none(pairs: pd.DataFrame, best: Any, analysis: Analysis) -> list[str]:
    none = _same_model(pairs, best, without=True)
    if best["sampler"] == "none" or none.empty:
        return []
    gap, value = _gap(best, none.iloc[0])
    comparison = _comparison(analysis, best["sampler"], best["model"], "none")
    verdict = "" if comparison is None else f"; {_IN_BRIEF[comparison['verdict']]}"
    return [f"{gap} above the same model without a sampler ({value}{verdict})"]


def _above_base(pairs: pd.DataFrame, best: Any, base: str) -> list[str]:
    same = pairs[(pairs["model"] == base) & (pairs["sampler"] == best["sampler"])]
    if same.empty:
        return []
    gap, value = _gap(best, same.iloc[0])
    return [f"{gap} above the same training without clinical columns ({value})"]


def _above_majority(board: pd.DataFrame, best: Any) -> list[str]:
    reference = board[board["reference"]]
    if reference.empty:
        return []
    baseline = reference.iloc[0]
    gap = best["macro_f1"] - baseline["macro_f1"]
    where = "above" if gap >= 0 else "below"
    class_name = str(baseline["model"]).removeprefix(ALWAYS)
    return [f"{fixed(abs(gap))} {where} always answering {class_name} ({fixed(baseline['macro_f1'])})"]


def _ties(pairs: pd.DataFrame, best: Any) -> list[str]:
    level = pairs.iloc[1:][pairs.iloc[1:]["macro_f1"].round(3) == round(best["macro_f1"], 3)]
    names = [_pair_name(row) for row in level.to_dict("records")]
    if not names:
        return []
    return [f"To three decimals, {listing(names)} {'reaches' if len(names) == 1 else 'reach'} the same."]


def _test_against_none(best: Any, analysis: Analysis) -> list[str]:
    row = _comparison(analysis, best["sampler"], best["model"], "none")
    if row is None:
        return []
    words = {
        BETTER: "The difference to training without a sampler holds",
        WORSE: "In the folds that both have finished, training without a sampler is better",
        EQUAL: "The difference to training without a sampler does not matter in practice",
        UNDECIDED: "Whether the difference to training without a sampler holds is undecided",
    }
    return [f"{words[row['verdict']]}: {evidence(row)}."]


def _on_equal_terms(best: Any, analysis: Analysis) -> list[str]:
    """Say whether the sampler of the best pair taught its model anything."""
    return [
        f"On equal terms with the same model without a sampler: {effect.conclusion}."
        for effect in effects(analysis.comparisons)
        if (effect.sampler, effect.model) == (best["sampler"], best["model"])
    ]


def _no_gain(pairs: pd.DataFrame, best: Any, analysis: Analysis) -> list[str]:
    others = _same_model(pairs, best, without=False)
    if best["sampler"] != "none" or others.empty:
        return []
    closest = others.iloc[0]
    value = with_spread(closest["macro_f1"], closest["macro_f1_sd"])
    remark = f"No sampler raised it: with this model, {closest['sampler_title']} comes closest ({value})."
    row = _comparison(analysis, closest["sampler"], best["model"], "none")
    return [remark if row is None else f"{remark} {row['verdict'].capitalize()}: {evidence(row)}."]


def _test_against_correction(best: Any, analysis: Analysis) -> list[str]:
    """Set the best pair beside prior correction, from the side from which they were compared."""
    if best["sampler"] == "none":
        row = _comparison(analysis, PRIOR_CORRECTION, best["model"], "none")
        side, words = "value", {BETTER: "better", WORSE: "worse"}
    else:
        row = _comparison(analysis, best["sampler"], best["model"], PRIOR_CORRECTION)
        side, words = "against_value", {BETTER: "worse", WORSE: "better"}
    if row is None:
        return []
    verdict = words.get(row["verdict"], row["verdict"])
    return [
        f"Prior correction, which trains nothing, reaches {fixed(row[side])} with this model: "
        f"{verdict} ({evidence(row)})."
    ]


def _one_part(record: RunRecord) -> bool:
    """Whether all cells of a pair hold out the same pictures."""
    return len({repeat[0] for repeat in record.info.held_out}) == 1 == record.info.protocol.planned_folds


def _spread(best: Any, one_part: bool) -> list[str]:
    if best["cells"] < 2:
        return ["It rests on a single held-out fold, so its spread is unknown."]
    over = "training with another seed" if one_part else "held-out fold"
    many = "trainings with other seeds" if one_part else "held-out folds"
    return [f"The figure after ± is the standard deviation over the {count(best['cells'], over, many)}."]


def key_numbers(record: RunRecord) -> list[tuple[str, str]]:
    """Return the numbers that a reader wants first, each with its name."""
    table, protocol = record.info.table, record.info.protocol
    rows = np.asarray(table.rows_per_class)
    numbers = [(f"{protocol.rows:,}", "pictures")]
    if table.lesions is not None:
        numbers.append(
            (
                f"{table.lesions:,}",
                "lesions" if protocol.rows == table.rows else "lesions in the table",
            )
        )
    numbers += [
        (str(len(rows)), "classes"),
        (f"{rows.max() / max(rows.min(), 1):.0f} : 1", "largest to smallest class"),
        (f"{len(record.results):,} of {len(record.info.cells):,}", "cells finished"),
    ]
    if record.info.wall_seconds is not None:
        numbers.append((duration(record.info.wall_seconds), "wall clock"))
    return numbers


def failed_cells(record: RunRecord) -> list[dict[str, str]]:
    """List the failed cells, those of one pair and one reason together."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for failure in record.failures:
        cell = failure.cell
        place = f"fold {cell.fold + 1}" + (f" of repeat {cell.repeat + 1}" if record.info.repeats > 1 else "")
        together.setdefault((cell.sampler, cell.model, failure.reason), []).append(place)
    return [
        {
            "pair": pair_title(record.info, sampler, model),
            "places": ", ".join(places),
            "reason": reason,
        }
        for (sampler, model, reason), places in together.items()
    ]


def pending_cells(record: RunRecord) -> list[str]:
    """Name the pairs with cells that were not run yet, with how many."""
    waiting = Counter(
        (entry.sampler, entry.model) for entry in record.info.cells if entry.status == "pending"
    )
    return [f"{pair_title(record.info, *pair)} ({count(cells, 'cell')})" for pair, cells in waiting.items()]
