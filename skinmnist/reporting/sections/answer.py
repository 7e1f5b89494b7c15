"""The lead of the page: the run's answer, its evidence, sample lesions and unfinished cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.operating_points import PRIOR_CORRECTION
from skinmnist.analysis.significance import BETTER, EQUAL, UNDECIDED, WORSE
from skinmnist.analysis.summaries import ALWAYS, comparisons_with, effects, with_control
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import (
    base_model,
    count,
    ends,
    evidence,
    fixed,
    listing,
    pair_title,
    shorten,
    signed,
    titled,
    with_spread,
)
from skinmnist.reporting.sections.costs import class_noun, class_of_interest
from skinmnist.reporting.theme import Captioned, embed_strip

NONE = "none"
#: Maximum number of pictures in the strip; with more classes, only the first ones are shown.
_LONGEST_STRIP = 14


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of the lead."""
    record = analysis.record
    return {
        "answer": answer(analysis),
        "strip": draw_strip(record),
        "failed": failed_cells(record),
        "pending": pending_cells(record),
    }


@dataclass(frozen=True)
class Answer:
    """The conclusions that a reader may act on, with their evidence.

    Attributes
    ----------
    best, statement : str
        The pair with the highest macro-F1, and its missed pictures.
    alternative : str
        The pair that misses the fewest pictures of the class of interest, and its cost.
    verdict : str
        Whether the best pair's sampler made a difference.
    remarks : tuple of str
        The evidence, shown in a later section.
    """

    best: str
    statement: str
    alternative: str = ""
    verdict: str = ""
    remarks: tuple[str, ...] = ()


def answer(analysis: Analysis) -> Answer:
    """State which pair has the highest mean macro-F1, what it misses, and the cost of missing fewer."""
    board = titled(analysis.record.info, analysis.leaderboard)
    board = board[~board["corrected"]]
    pairs = board[~board["reference"]]
    if pairs.empty:
        return Answer("No cell has finished,", "so there is nothing to compare yet.")
    best = pairs.iloc[0]
    verb = "has the highest macro-F1" if len(pairs) > 1 else "has a macro-F1 of"
    value = f"({fixed(best['macro_f1'])})" if len(pairs) > 1 else fixed(best["macro_f1"])
    caveat, alternative = _missed(pairs, analysis)
    remarks = [
        *_gaps(board, pairs, best, analysis),
        *_ties(pairs, best),
        *_test_against_none(best, analysis),
        *_on_equal_terms(best, analysis),
        *_test_against_correction(best, analysis),
        *_spread(best, _one_part(analysis.record)),
    ]
    return Answer(
        _pair_name(best),
        f"{verb} {value}{caveat}.",
        alternative,
        _verdict(pairs, best, analysis),
        tuple(remarks),
    )


def _missed(pairs: pd.DataFrame, analysis: Analysis) -> tuple[str, str]:
    """State how often the best pair misses the class of interest, and which pair misses it least often."""
    name = class_of_interest(analysis)
    recalls = analysis.recalls[analysis.recalls["class"] == name].set_index(["sampler", "model"])["mean"]
    pairs = pairs.assign(
        recall=[recalls.get(pair, np.nan) for pair in zip(pairs["sampler"], pairs["model"], strict=True)]
    )
    best = pairs.iloc[0]
    if np.isnan(best["recall"]):
        return "", ""
    noun = class_noun(analysis.record.info, name)
    missed = in_ten(1 - best["recall"])
    caveat = (
        f", {'but' if best['recall'] < 0.8 else 'and'} misses {'no' if missed == NONE else missed} {noun}"
    )
    if len(pairs) == 1:
        return caveat, ""
    ordered = pairs.sort_values(["recall", "accuracy"], ascending=False, kind="stable")
    other = ordered.iloc[0]
    fewer = in_ten(1 - other["recall"])
    if other["recall"] <= best["recall"] or fewer == missed:
        return caveat, "No pair misses clearly fewer."
    return (
        caveat,
        f"{_pair_name(other)} misses {fewer}, {_at_what_accuracy(other['accuracy'] - best['accuracy'])}.",
    )


def _at_what_accuracy(gain: float) -> str:
    """Format a change in accuracy: ``with accuracy 12 points lower``."""
    points = abs(round(100 * gain))
    if not points:
        return "with the same accuracy"
    return f"with accuracy {count(points, 'point')} {'lower' if gain < 0 else 'higher'}"


def in_ten(share: float) -> str:
    """Format a share in tenths, ``6 of 10``; shares close to 0 or 1 in hundredths or approximately."""
    if round(100 * share) in (0, 100):
        return "all" if share > 0.5 else NONE
    if 0.05 <= share < 0.95:
        return f"{round(10 * share)} of 10"
    return f"{round(100 * share)} of 100"


def _verdict(pairs: pd.DataFrame, best: Any, analysis: Analysis) -> str:
    """State briefly whether the sampler of the best pair, or the closest one, made a difference."""
    others = _same_model(pairs, best, without=False)
    if best["sampler"] != "none":
        row = _comparison(analysis, best["sampler"], best["model"], "none")
        words = {
            BETTER: "Its macro-F1 is better than that of the same model without a sampler",
            WORSE: "In the folds they share, the same model without a sampler is better",
            EQUAL: "Its macro-F1 is practically equal to that of the same model without a sampler",
            UNDECIDED: "Whether it beats the same model without a sampler is undecided",
        }
    elif others.empty:
        return ""
    else:
        closest = others.iloc[0]["sampler_title"]
        row = _comparison(analysis, others.iloc[0]["sampler"], best["model"], "none")
        start = "No sampler raised its macro-F1."
        words = {
            BETTER: f"{start} In the folds they share, {closest} is better",
            WORSE: f"{start} Even the closest, {closest}, is worse",
            EQUAL: f"{start} The closest, {closest}, is practically equal",
            UNDECIDED: f"{start} The closest, {closest}, is undecided",
        }
    if row is None:
        return ""
    interval = "" if np.isnan(row["low"]) else f", 95 % interval {ends(row)}"
    return f"{words[row['verdict']]}: {signed(row['difference'])}{interval}."


def draw_strip(record: RunRecord) -> list[Captioned]:
    """Place one or two pictures of each class in a row, with the share of the class."""
    table = record.info.table
    names, rows = table.class_names[:_LONGEST_STRIP], np.asarray(table.rows_per_class)
    each = min(max(_LONGEST_STRIP // len(names), 1), 4)
    drawn = []
    for code, name in enumerate(names):
        pictures = record.pictures[record.picture_labels == code][:each]
        if len(pictures):
            image = embed_strip(
                pictures, count(len(pictures), f"picture of class {name}", f"pictures of class {name}"), 48
            )
            share = f"{100 * rows[code] / rows.sum():.0f} %"
            drawn.append(Captioned(shorten(name, 16), (image,), share))
    return drawn


def _pair_name(row: Any) -> str:
    if row["sampler"] == "none":
        return f"{row['model_title']} without a sampler"
    return f"{row['model_title']} with {row['sampler_title']}"


def _same_model(pairs: pd.DataFrame, best: Any, without: bool) -> pd.DataFrame:
    """Return the other pairs that use the best pair's model, with a sampler or without one."""
    return pairs[(pairs["model"] == best["model"]) & ((pairs["sampler"] == "none") == without)]


def _comparison(analysis: Analysis, sampler: str, model: str, against: str) -> Any:
    """Return the row of one comparison of macro-F1, or None if there is no such comparison."""
    rows = analysis.comparisons
    rows = with_control(rows) if against == "none" else comparisons_with(rows, against)
    rows = rows[(rows["sampler"] == sampler) & (rows["model"] == model)]
    return None if rows.empty else rows.iloc[0]


def _gap(best: Any, row: Any) -> tuple[str, str]:
    """Format the lead of the best pair over another pair, and the other pair's score."""
    gap = fixed(best["macro_f1"] - row["macro_f1"])
    return gap, with_spread(row["macro_f1"], row["macro_f1_sd"])


def _gaps(board: pd.DataFrame, pairs: pd.DataFrame, best: Any, analysis: Analysis) -> list[str]:
    gaps = [
        *_above_none(pairs, best),
        *_above_base(pairs, best, base_model(analysis.record.info, best["model"])),
        *_above_majority(board, best),
    ]
    value = with_spread(best["macro_f1"], best["macro_f1_sd"])
    return [f"Its macro-F1 of {value} is {listing(gaps)}."] if gaps else []


def _above_none(pairs: pd.DataFrame, best: Any) -> list[str]:
    none = _same_model(pairs, best, without=True)
    if best["sampler"] == "none" or none.empty:
        return []
    gap, value = _gap(best, none.iloc[0])
    return [f"{gap} above the same model without a sampler ({value})"]


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
    return [
        f"{fixed(abs(gap))} {where} that of always predicting {class_name} ({fixed(baseline['macro_f1'])})"
    ]


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
    """State whether the best pair's sampler taught its model anything."""
    return [
        f"On equal terms with the same model without a sampler: {effect.conclusion}."
        for effect in effects(analysis.comparisons)
        if (effect.sampler, effect.model) == (best["sampler"], best["model"])
    ]


def _test_against_correction(best: Any, analysis: Analysis) -> list[str]:
    """Compare the best pair with prior correction, in the direction in which they were tested."""
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
    """Return whether all cells of a pair hold out the same pictures."""
    return len({repeat[0] for repeat in record.info.held_out}) == 1 == record.info.protocol.planned_folds


def _spread(best: Any, one_part: bool) -> list[str]:
    if best["cells"] < 2:
        return ["It rests on a single held-out fold, so its spread is unknown."]
    over = "training with another seed" if one_part else "held-out fold"
    many = "trainings with other seeds" if one_part else "held-out folds"
    return [f"The figure after ± is the standard deviation over the {count(best['cells'], over, many)}."]


def failed_cells(record: RunRecord) -> list[dict[str, str]]:
    """List the failed cells, grouped by pair and reason."""
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
    """List the pairs that have pending cells, with the number of those cells."""
    waiting = Counter(
        (entry.sampler, entry.model) for entry in record.info.cells if entry.status == "pending"
    )
    return [f"{pair_title(record.info, *pair)} ({count(cells, 'cell')})" for pair, cells in waiting.items()]
