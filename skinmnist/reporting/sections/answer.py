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
from skinmnist.analysis.standing import lead, not_above_majority
from skinmnist.analysis.summaries import (
    ALWAYS,
    LEARNED,
    LEARNED_AND_COST,
    comparisons_with,
    effects,
    with_control,
)
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import (
    base_model,
    change,
    count,
    evidence,
    fixed,
    listing,
    pair_title,
    shorten,
    titled,
    with_spread,
)
from skinmnist.reporting.sections.costs import class_noun, class_of_interest, class_title, failing_classes
from skinmnist.reporting.theme import Captioned, embed_strip

NONE = "none"
#: Maximum number of pictures in the strip; with more classes, only the first ones are shown.
_LONGEST_STRIP = 14
#: Maximum number of pairs that the verdict names.
_MOST_BETTER = 2


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of the lead."""
    record = analysis.record
    return {
        "answer": answer(analysis),
        "strip": draw_strip(record),
        "spelled": spelled_out(record),
        "failed": failed_cells(record),
        "pending": pending_cells(record),
    }


@dataclass(frozen=True)
class Answer:
    """The conclusions that a reader may act on, with their evidence.

    Attributes
    ----------
    headline : str
        The pair with the highest macro-F1, or that no pair is shown to be best.
    details : str
        The first two pairs if neither is shown to be best, and accuracies below the majority baseline.
    verdict : str
        Whether any sampler made a difference to its own model.
    missed : str
        How the first pair's model misses the fewest pictures of the class of interest, at which cost, and the
        classes that the named pairs mostly miss.
    best : str
        The first pair of the leaderboard.
    remarks : tuple of str
        The evidence on this pair, shown in a later section.
    """

    headline: str
    details: str = ""
    verdict: str = ""
    missed: str = ""
    best: str = ""
    remarks: tuple[str, ...] = ()


def answer(analysis: Analysis) -> Answer:
    """State which pair is shown to be best, if any, what it misses, and whether samplers helped."""
    board = titled(analysis.record.info, analysis.leaderboard)
    board = board[~board["corrected"]]
    pairs = board[~board["reference"]]
    if pairs.empty:
        return Answer("No cell has finished, so there is nothing to compare yet.")
    best = pairs.iloc[0]
    misses = _misses(best, analysis)
    headline, named = _headline(pairs, analysis, misses)
    remarks = [
        *_gaps(board, pairs, best, analysis),
        *_ties(pairs, best),
        *_test_against_none(best, analysis),
        *_on_equal_terms(best, analysis),
        *_test_against_correction(best, analysis),
        *_spread(best, _one_part(analysis.record)),
    ]
    shown = pairs.head(2 if named else 1)
    subject = "" if misses and misses in headline else "The first" if named else "It"
    missed = [*_alternative(board, analysis, subject), failing_classes(analysis, shown)]
    return Answer(
        headline,
        " ".join([*named, *_below_baseline(shown, board)]),
        _verdict(analysis),
        " ".join(filter(None, missed)),
        _pair_name(best),
        tuple(remarks),
    )


def _headline(pairs: pd.DataFrame, analysis: Analysis, misses: str) -> tuple[str, list[str]]:
    """Name the first pair if no check withdraws its lead; otherwise return a sentence on the first two."""
    best, value = pairs.iloc[0], fixed(pairs.iloc[0]["macro_f1"])
    beaten = not_above_majority(analysis)
    if (best["sampler"], best["model"]) in beaten.pairs:
        misses = (
            f", but is not shown to be better than always predicting {shorten(beaten.class_name, 30)} "
            f"({fixed(beaten.value)})"
        )
    if len(pairs) == 1:
        return f"{_pair_name(best)} has a macro-F1 of {value}{misses}.", []
    found, first_two = lead(analysis), _first_two(pairs)
    # Failed cells have a banner of their own.
    errors = [one.check.code for one in analysis.concerns if one.check.severity == "error"]
    if errors := [code for code in errors if code != "SKM015"]:
        named = f"{first_two} come first in macro-F1."
        return f"The checks report errors ({listing(errors)}), so no pair can be called best.", [named]
    if found is None or found.shown:
        return f"{_pair_name(best)} has the highest macro-F1 ({value}){misses}.", []
    if found.row is not None and found.row["verdict"] == EQUAL:
        return "The first two pairs are practically equal in macro-F1.", [f"They are {first_two}."]
    named = f"{first_two} come first in macro-F1; these folds do not show which is better."
    return "No pair is shown to be best.", [named]


def _first_two(pairs: pd.DataFrame) -> str:
    named = [f"{_pair_name(row)} ({fixed(row['macro_f1'])})" for row in pairs.head(2).to_dict("records")]
    return listing(named)


def _misses(best: Any, analysis: Analysis) -> str:
    """State how often a pair misses the class of interest: ``, but misses 6 of 10 melanomas``."""
    name = class_of_interest(analysis)
    recall = _recalls(analysis, name).get((best["sampler"], best["model"]), np.nan)
    if np.isnan(recall):
        return ""
    missed = in_ten(1 - recall)
    noun = class_noun(analysis.record.info, name)
    return f", {'but' if recall < 0.8 else 'and'} misses {'no' if missed == NONE else missed} {noun}"


def _recalls(analysis: Analysis, name: str) -> pd.Series:
    """Return the mean recall of one class, by pair."""
    found = analysis.recalls
    return found[found["class"] == name].set_index(["sampler", "model"])["mean"]


def _below_baseline(named: pd.DataFrame, board: pd.DataFrame) -> list[str]:
    """State which of the named pairs are less accurate than the majority baseline."""
    lower = _less_accurate(named, board)
    if not len(lower):
        return []
    values = listing([fixed(value) for value in lower["accuracy"]])
    whose = "Its accuracy" if len(named) == 1 else "The accuracy of both"
    if len(lower) < len(named):
        whose = f"The accuracy of the {'first' if lower.index[0] == named.index[0] else 'second'}"
    return [f"{whose}, {values}, is below that of {_always(board)}."]


def _less_accurate(rows: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """Select the rows whose accuracy, as shown, is below that of the majority baseline."""
    baseline = board.loc[board["reference"], "accuracy"].round(3).max()
    return rows[rows["accuracy"].round(3) < baseline]


def _always(board: pd.DataFrame) -> str:
    baseline = board[board["reference"]].iloc[0]
    name = shorten(str(baseline["model"]).removeprefix(ALWAYS), 30)
    return f"always {name} ({fixed(baseline['accuracy'])})"


def _alternative(board: pd.DataFrame, analysis: Analysis, subject: str) -> list[str]:
    """State which training of the first pair's model misses the fewest pictures of the class of interest.

    `subject` starts the sentence on what the first pair misses; it is empty if the headline tells that.
    """
    pairs, name = board[~board["reference"]], class_of_interest(analysis)
    recalls = _recalls(analysis, name)
    same = pairs[pairs["model"] == pairs.iloc[0]["model"]]
    keys = zip(same["sampler"], same["model"], strict=True)
    same = same.assign(recall=[recalls.get(pair, np.nan) for pair in keys])
    best = same.iloc[0]
    if np.isnan(best["recall"]):
        return []
    missed = f"misses {in_ten(1 - best['recall'])} {class_noun(analysis.record.info, name)}"
    other = same.sort_values(["recall", "accuracy"], ascending=False, kind="stable").iloc[0]
    fewer = in_ten(1 - other["recall"])
    if other["recall"] <= best["recall"] or fewer == in_ten(1 - best["recall"]):
        no_other = "No other training of this model misses clearly fewer."
        return [f"{subject} {missed}."] * bool(subject) + [no_other] * (len(same) > 1)
    clause = f"the same model misses {fewer}, {_at_what_accuracy(other['accuracy'] - best['accuracy'])}"
    if len(_less_accurate(same.loc[[other.name]], board)):
        clause += f", at {fixed(other['accuracy'])} below {_always(board)}"
    clause += _threshold_alone(analysis, best["model"], name)
    if not subject:
        how = _how(other)
        return [f"{how[0].upper()}{how[1:]}, {clause}."]
    return [f"{subject} {missed}; {_how(other)}, {clause}."]


def _threshold_alone(analysis: Analysis, model: str, name: str) -> str:
    """State what the free control of a model misses."""
    scores = analysis.derived_scores
    own = (scores["model"] == model) & (scores["metric"] == f"recall_{name}")
    missed = 1 - scores.loc[own, "value"].mean()
    return "" if np.isnan(missed) else f"; with its threshold moved instead, {in_ten(missed)}"


def _how(row: Any) -> str:
    return "without a sampler" if row["sampler"] == "none" else f"with {row['sampler_title']}"


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


def _verdict(analysis: Analysis) -> str:
    """State whether any sampler raised the macro-F1 of its own model, and whether any taught it something."""
    rows = comparisons_with(analysis.comparisons)
    if rows.empty:
        return ""
    info, better = analysis.record.info, rows[rows["verdict"] == BETTER]
    found = rows["verdict"].value_counts()
    words = [f"{found[word]} {word}" for word in (WORSE, EQUAL, UNDECIDED) if word in found]
    others = f"all {found.index[0]}" if words and len(found) == 1 < len(rows) else ", ".join(words)
    taught = [
        pair_title(info, effect.sampler, effect.model)
        for effect in effects(analysis.comparisons)
        if effect.conclusion in (LEARNED, LEARNED_AND_COST)
    ]
    more = f" Beyond what moving a threshold does, {listing(taught, _MOST_BETTER)} learned something."
    if better.empty:
        none = (
            "As trained, no sampler is shown to raise macro-F1 above that of the same model without one "
            f"({count(len(rows), 'comparison')}: {others})"
        )
        return f"{none}.{more}" if taught else f"{none}, or to teach it more than moving the threshold does."
    named = [
        f"{pair_title(info, row['sampler'], row['model'])} ({change(row)})"
        for row in better.sort_values("difference", ascending=False).to_dict("records")
    ]
    rest = f" The other comparisons: {others}." if others else ""
    more = more if taught else " None is shown to teach its model more than moving the threshold does."
    return (
        "As trained, macro-F1 is better than that of the same model without a sampler for "
        f"{listing(named, _MOST_BETTER)}.{rest}{more}"
    )


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


def spelled_out(record: RunRecord) -> str:
    """Spell out the class names of the strip: ``akiec: actinic keratosis; bcc: basal cell carcinoma``."""
    table = record.info.table
    return "; ".join(
        f"{shorten(name, 16)}: {class_title(record.info, name)}"
        for name in table.class_names[:_LONGEST_STRIP]
        if table.class_titles.get(name, name) != name
    )


def _pair_name(row: Any) -> str:
    """Return the name of a pair within a sentence; a title with punctuation, as of ensembles, is quoted."""
    title = row["model_title"]
    return f"“{title}” {_how(row)}" if set(":,;") & set(title) else f"{title} {_how(row)}"


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
    together: dict[tuple[str, str, str], dict[int, list[int]]] = {}
    for failure in record.failures:
        cell = failure.cell
        of_pair = together.setdefault((cell.sampler, cell.model, failure.reason), {})
        of_pair.setdefault(cell.repeat, []).append(cell.fold)
    return [
        {
            "pair": pair_title(record.info, sampler, model),
            "places": _places(repeats, record.info.repeats > 1),
            "reason": reason,
        }
        for (sampler, model, reason), repeats in together.items()
    ]


def _places(repeats: dict[int, list[int]], several: bool) -> str:
    """Format folds by repeat: ``folds 1–5``, or ``folds 1–3 and 5 of repeats 1–2, fold 4 of repeat 3``."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for repeat, folds in repeats.items():
        alike.setdefault(tuple(sorted(folds)), []).append(repeat)
    return ", ".join(
        _ranges("fold", list(folds)) + (f" of {_ranges('repeat', of)}" if several else "")
        for folds, of in alike.items()
    )


def _ranges(noun: str, numbers: list[int]) -> str:
    """Format numbers that count from zero: ``fold 3``, or ``folds 1–3 and 5``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0] + 1}–{run[-1] + 1}" if len(run) > 1 else f"{run[0] + 1}" for run in runs]
    return f"{noun}{'s' * (len(numbers) > 1)} {listing(texts)}"


def pending_cells(record: RunRecord) -> list[str]:
    """List the pairs that have pending cells, with the number of those cells."""
    waiting = Counter(
        (entry.sampler, entry.model) for entry in record.info.cells if entry.status == "pending"
    )
    return [f"{pair_title(record.info, *pair)} ({count(cells, 'cell')})" for pair, cells in waiting.items()]
