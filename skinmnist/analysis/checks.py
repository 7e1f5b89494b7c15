"""Checks for pitfalls that could mislead the reader of a run: the entries of `CHECKS` and `CONCLUSIONS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.analysis.significance import (
    AS_TRAINED,
    EQUAL,
    RANKING,
    SURE,
    UNDECIDED,
    WORSE,
    Pair,
    compare_samplers,
    reason_undecided,
)
from skinmnist.analysis.standing import (
    MAIN,
    by_part,
    compared,
    lead,
    less_accurate_than_majority,
    not_above_majority,
    scores_by_fold,
)
from skinmnist.experiment.metrics import confusion_matrix
from skinmnist.text import documentation_page, listed

if TYPE_CHECKING:
    from skinmnist.analysis.analyze import Analysis

Severity = Literal["error", "warning", "note"]
#: Severities, in the order of the report.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
#: With fewer lesions of a class in a fold, a single lesion changes the recall by a tenth or more.
FEWEST_LESIONS = 10
#: A table this close to HAM10000 in size is treated as HAM10000; its class sizes may deviate by this much.
_CLOSE, _OFF = 0.05, 0.2
#: A larger share of copies suggests a resampled table; HAM10000 has 2 copies, each within one lesion.
_MANY_COPIES = 0.01
#: Two classes count as swapped if more than this share of each is predicted as the other.
_EXCHANGED = 0.5
#: Class mixes are considered equal if no share of the training rows differs by more than this.
_OTHER_MIX = 0.01
#: Required number of standard errors above `_EXCHANGED`, because a random guess is right half the time.
_BEYOND_CHANCE = 3.0


@dataclass(frozen=True)
class Check:
    """A pitfall for the reader of a run.

    Attributes
    ----------
    code : str
        ``SKM001``, ...; codes are never reused.
    severity : {"error", "warning", "note"}
        An error invalidates scores, a warning makes them easy to misread, and a note gives background.
    find : callable
        Accepts an `Analysis` and returns the finding in words and numbers, or None if there is no finding.
    lesson : str
        The name, without ``.py``, of the lesson in ``experiments/lessons`` that explains the pitfall; empty
        if there is none.
    """

    code: str
    title: str
    severity: Severity
    find: Callable[[Analysis], str | None]
    lesson: str = ""

    @property
    def conclusion(self) -> str:
        """What must not be concluded if the check has a finding."""
        return CONCLUSIONS[self.code]

    @property
    def lesson_number(self) -> int:
        """The number of the lesson for ``python -m skinmnist.lessons``; 0 without a lesson."""
        return int(self.lesson[:2]) if self.lesson else 0

    @property
    def page(self) -> str:
        """The page that explains how the check works, why it matters and how to respond."""
        return documentation_page(f"pitfalls/{self.code}")


@dataclass(frozen=True)
class Concern:
    """A finding of a check in a run."""

    check: Check
    sentence: str


def shared_lesions(analysis: Analysis) -> str | None:
    """Find lesions whose pictures are in several folds."""
    record = analysis.record
    found = record.info.split_facts
    if record.info.given is not None:
        return record.info.given.shared
    if found is None or not found.shared_lesions or found.shared_pictures is None:
        return None
    share = found.shared_pictures / record.info.protocol.rows
    return (
        f"{found.shared_lesions:,} lesions have pictures in several folds ({100 * share:.0f} % of all "
        "pictures). Models are thus tested on lesions of their training set, which usually raises scores; "
        "split by lesion."
    )


def unknown_lesions(analysis: Analysis) -> str | None:
    """Note that the lesions are unknown, so folds may share them."""
    if analysis.record.info.table.lesions is not None:
        return None
    return (
        "The table has no lesion ids, so pictures of one lesion may be in several folds, which "
        "usually raises scores; name its metadata with --metadata."
    )


def near_duplicates(analysis: Analysis) -> str | None:
    """Find near-identical pictures in different folds that no lesion id connects."""
    found = analysis.record.info.split_facts
    if found is None or not found.alike_across:
        return None
    pairs, first = found.alike_across, found.alike_rows[0]
    many = "pair of pictures looks" if pairs == 1 else "pairs of pictures look"
    ids = "" if found.shared_lesions is None else ", though their lesion ids differ"
    return (
        f"{pairs:,} {many} like one lesion in different folds{ids} (rows {first[0]} and {first[1]}"
        f"{', for example' if pairs > 1 else ''}); if they do, the model can recognise the lesion."
    )


def relabelled_copies(analysis: Analysis) -> str | None:
    """Find identical pictures with different labels."""
    found = analysis.record.info.split_facts
    if found is None or not found.relabelled:
        return None
    many = "picture has" if found.relabelled == 1 else "pictures have"
    first, second = found.relabelled_rows
    return (
        f"{found.relabelled:,} {many} exactly the pixels of an earlier one but another class (rows {first} "
        f"and {second}{', for example' if found.relabelled > 1 else ''}): at least one label of each pair is "
        "wrong."
    )


def copies(analysis: Analysis) -> str | None:
    """Find identical pictures, if they are numerous or have different lesion ids."""
    found, rows = analysis.record.info.split_facts, analysis.record.info.protocol.rows
    if found is None or not (found.unlinked_copies or found.copies > _MANY_COPIES * rows):
        return None
    many = "picture is an exact copy" if found.copies == 1 else "pictures are exact copies"
    ids = f" ({found.unlinked_copies:,} with no lesion id in common)" if found.unlinked_copies else ""
    return (
        f"{found.copies:,} of {rows:,} {many} of another{ids}. Copies stay in one fold, but scores count "
        "each of them; if the table was oversampled, use the original table."
    )


def skipped_search(analysis: Analysis) -> str | None:
    """Note that the search for near duplicates was skipped."""
    info = analysis.record.info
    if info.split_facts is None or info.split_facts.alike_pairs is not None:
        return None
    return (
        f"The table has too many pictures ({info.protocol.rows:,}) to search for near duplicates; only "
        "exact copies were searched for."
    )


def few_lesions(analysis: Analysis) -> str | None:
    """Find classes with few lesions in each fold."""
    record = analysis.record
    table, folds = record.info.table, record.info.protocol.folds
    known = table.lesions_per_class
    what = "pictures" if known is None else "lesions"
    # A run on a sample of the table keeps the class proportions.
    part = record.info.protocol.rows / table.rows
    counts = np.asarray(table.rows_per_class if known is None else known) * part / folds
    if record.info.given is not None:
        counts = np.min([part.per_class for part in record.info.given.held_out], axis=0)
    few = [
        f"{name} {count:.0f}"
        for name, count in zip(table.class_names, counts, strict=True)
        if count < FEWEST_LESIONS
    ]
    if not few:
        return None
    return (
        f"A held-out fold has fewer than {FEWEST_LESIONS} {what} of some classes ({listed(few)}). A single "
        "one changes their recall, and thus macro-F1, considerably."
    )


def class_order(analysis: Analysis) -> str | None:
    """Find a table that resembles HAM10000 but has other class sizes, which suggests swapped labels."""
    table = analysis.record.info.table
    rows, true = np.asarray(table.rows_per_class), np.asarray(facts.ROWS_PER_CLASS)
    claims = tuple(table.class_names) == facts.CLASS_NAMES and not table.synthetic
    if not claims or abs(rows.sum() - true.sum()) > _CLOSE * true.sum():
        return None
    off = np.flatnonzero(np.abs(rows - true) > np.maximum(_OFF * true, 5))
    if not len(off):
        return None
    shown = [f"{facts.CLASS_NAMES[code]} {rows[code]:,} instead of {true[code]:,}" for code in off]
    return (
        f"The table has the size of HAM10000 but other class sizes ({listed(shown)}): the order of its "
        "labels probably differs from that of the names."
    )


def quick(analysis: Analysis) -> str | None:
    """Note that the run is only a quick look."""
    record = analysis.record
    if not record.info.quick:
        return None
    rows, folds = record.info.protocol.rows, record.info.protocol.folds
    elsewhere = " and name another folder with --out" if "--out" in record.info.command else ""
    return (
        f"This is a quick look at {rows:,} pictures in {folds} folds, not a result. For a result, run the "
        f"command again without --quick{elsewhere}."
    )


def synthetic(analysis: Analysis) -> str | None:
    """Note that the pictures are synthetic."""
    if not analysis.record.info.table.synthetic:
        return None
    return "The pictures were generated by skinmnist, so the scores say nothing about real skin."


def missing_cells(analysis: Analysis) -> str | None:
    """Find cells that failed, and pairs without cells that other pairs have finished."""
    record = analysis.record
    pairs = dict.fromkeys(f"{f.cell.sampler} with {f.cell.model}" for f in record.failures)
    if pairs:
        return (
            f"{len(record.failures)} of {len(record.info.cells)} cells failed ({listed(list(pairs))}). Means "
            "are over the remaining folds, so pairs are not tested on the same pictures."
        )
    folds = {pair: set(scores.index) for pair, scores in scores_by_fold(analysis, MAIN).items()}
    every = len(set().union(*folds.values()))
    lacking = [f"{_named(pair)} {len(own)} of {every}" for pair, own in folds.items() if len(own) < every]
    if not lacking:
        return None
    pending = record.info.interrupted or any(entry.status == "pending" for entry in record.info.cells)
    what = "the same command again" if pending else "all samplers and models with the same number of repeats"
    return (
        f"Some pairs have results for only some of the held-out folds ({listed(lacking)}). Means are over "
        f"these folds, so pairs are not tested on the same pictures; run {what}."
    )


def no_better_than_majority(analysis: Analysis) -> str | None:
    """Find pairs whose macro-F1 is not above that of the majority baseline."""
    found = not_above_majority(analysis)
    if not found.pairs:
        return None
    pairs = [f"{_named(pair)} {mean:.3f}" for pair, mean in found.pairs.items()]
    return (
        f"Always predicting {found.class_name} gives a macro-F1 of {found.value:.3f}. These pairs are not "
        f"shown to be better: {listed(pairs)}."
    )


def less_accurate(analysis: Analysis) -> str | None:
    """Find pairs with a lower accuracy than the majority baseline."""
    found = less_accurate_than_majority(analysis)
    if not found.pairs:
        return None
    pairs = [f"{_named(pair)} {mean:.3f}" for pair, mean in found.pairs.items()]
    return (
        f"Always predicting {found.class_name} gives an accuracy of {found.value:.3f}, which is higher than "
        f"that of {listed(pairs)}. Accuracy does not show whether "
        f"{'it is' if len(pairs) == 1 else 'they are'} useful."
    )


def never_predicted(analysis: Analysis) -> str | None:
    """Find pairs that never predict some class in any fold."""
    names = analysis.record.info.table.class_names
    missing = []
    for pair, counts in analysis.confusion_counts.items():
        absent = [names[code] for code in np.flatnonzero(counts.sum(axis=0) == 0) if counts[code].any()]
        if absent:
            missing.append(f"{_named(pair)} ({', '.join(absent)})")
    if not missing:
        return None
    return f"Some classes are never predicted and have a recall of 0: {listed(missing)}."


def hurt_calibration(analysis: Analysis) -> str | None:
    """Find samplers whose calibration error is significantly above that of ``none``, with corrections."""
    folds, points = analysis.record.info.protocol.folds, by_part(analysis, analysis.operating_points)
    trained, natural = (
        compare_samplers(points, folds, measures=[(rule, "ece")]).to_dict("records")
        for rule in (AS_TRAINED, RANKING[0])
    )
    worse = [row for row in trained if row["verdict"] == WORSE]
    if not worse:
        return None
    rises = [f"{_named(_pair(row))} ({row['against_value']:.3f} to {row['value']:.3f})" for row in worse]
    at_natural, imposed = {_pair(row): row for row in natural}, _imposed_mixes(analysis)
    together: dict[str, list[str]] = {words: [] for words in _MENDED}
    for pair in map(_pair, worse):
        row = at_natural.get(pair) if pair in imposed else None
        error = f" ({row['value']:.3f})" if row is not None else ""
        together[_mended(row)].append(_named(pair) + error)
    mended = [words.format(listed(pairs)) for words, pairs in together.items() if pairs]
    return (
        "Do not rely on these probabilities as trained. Their calibration error rises beyond chance: "
        f"{listed(rises)}. {' '.join(mended)}"
    )


#: Whether the correction works, as sentences in the order of the text.
_MENDED = (
    "Restoring the natural class mix corrects {}.",
    "Restoring the natural class mix does not correct {}.",
    "Whether restoring the natural class mix corrects {} is undecided.",
    "{} had the natural class mix already, so there is none to restore.",
)


def _pair(row: Any) -> Pair:
    return str(row["sampler"]), str(row["model"])


def _mended(row: Any) -> str:
    """Return a sentence on the correction: it works if the rise is below `ROPE` with probability `SURE`."""
    corrects, fails, undecided, natural = _MENDED
    if row is None:
        return natural
    if row["verdict"] == WORSE:
        return fails
    return corrects if row["worse"] <= 1 - SURE else undecided


def _imposed_mixes(analysis: Analysis) -> set[Pair]:
    """Return the pairs whose probabilities refer to a class mix other than the natural one."""
    return {
        (result.cell.sampler, result.cell.model)
        for result in analysis.record.results
        if np.abs(result.training_mix - result.natural_mix).max() > _OTHER_MIX
    }


def lead_not_shown(analysis: Analysis) -> str | None:
    """Note that the best pair on the leaderboard is not significantly better than the runner-up."""
    found = lead(analysis)
    if found is None or found.row is None or found.decided:
        return None
    first, second, row = _named(found.first), _named(found.second), found.row
    ahead = round(row["difference"], 3)
    words = f"leads {second} by {ahead:.3f}" if ahead > 0 else f"and {second} are level"
    text = f"{first} {words} in macro-F1{_reach(row)}"
    if row["verdict"] == EQUAL:
        return f"{text}: the two are practically equal."
    return f"{text}: these folds do not show which of the two is better."


def _reach(row: Any) -> str:
    if np.isnan(row["low"]):
        return f", without an interval ({reason_undecided(row)})"
    return f" (95 % interval {_signed(row['low'])} to {_signed(row['high'])})"


def undecided_differences(analysis: Analysis) -> str | None:
    """Count the undecided differences between samplers and ``none``, with the reason for each."""
    found = compared(analysis, "sampler")
    undecided = found[found["verdict"] == UNDECIDED]
    if undecided.empty:
        return None
    by_reason: dict[str, list[str]] = {}
    for row in undecided.to_dict("records"):
        pair = f"{_named(_pair(row))} {_signed(row['difference'])}"
        by_reason.setdefault(reason_undecided(row), []).append(pair)
    shown = "; ".join(f"{listed(pairs)}: {reason}" for reason, pairs in by_reason.items())
    verb = "is" if len(undecided) == 1 else "are"
    return (
        f"{len(undecided)} of {len(found)} differences from no sampler in macro-F1 {verb} undecided: {shown}."
    )


def exchanged_classes(analysis: Analysis) -> str | None:
    """Find pairs of classes whose pictures are mostly predicted as the other class, in both directions.

    This must occur in most folds, and beyond chance over all folds: a constant prediction that changes from
    fold to fold, or a random guess, does not indicate swapped labels.
    """
    names = analysis.record.info.table.class_names
    by_fold: dict[Pair, list[npt.NDArray[np.bool_]]] = {}
    for result in analysis.record.results:
        of_fold = confusion_matrix(result.labels, result.predicted, len(names))
        by_fold.setdefault((result.cell.sampler, result.cell.model), []).append(_both_ways(of_fold))
    swapped = []
    for pair, counts in analysis.confusion_counts.items():
        found = _both_ways(counts, _BEYOND_CHANCE) & (np.mean(by_fold[pair], axis=0) > 0.5)
        swapped += [
            f"{names[a]} and {names[b]} by {_named(pair)}"
            for a, b in zip(*np.nonzero(found), strict=True)
            if a < b
        ]
    if not swapped:
        return None
    return (
        f"Most pictures of one class are predicted as another, and vice versa: {listed(swapped)}; "
        "look for swapped labels."
    )


def _both_ways(counts: npt.NDArray[Any], errors: float = 0.0) -> npt.NDArray[np.bool_]:
    """Mark pairs of classes mostly predicted as each other, with a margin of `errors` standard errors."""
    pictures = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    clear = counts / pictures > _EXCHANGED + errors * np.sqrt(_EXCHANGED * (1 - _EXCHANGED) / pictures)
    return np.asarray(clear & clear.T)


def _named(pair: Pair) -> str:
    sampler, model = pair
    return f"{model} without a sampler" if sampler == "none" else f"{model} with {sampler}"


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")  # Avoid negative zero.


#: What must not be concluded from a run with a finding: clauses that follow "Do not conclude that".
CONCLUSIONS = {
    "SKM001": "the scores hold for new lesions",
    "SKM002": "no lesion is on both sides of the split",
    "SKM003": "every held-out lesion is new to the models",
    "SKM004": "the recall of a rare class is known precisely",
    "SKM005": "every pair has learned from the pictures",
    "SKM006": "accuracy shows which pair is useful",
    "SKM007": "every pair can recognise every class",
    "SKM008": "a probability of 60 % means six in ten",
    "SKM009": "the first pair of the leaderboard is the best",
    "SKM010": "undecided means equal",
    "SKM011": "the classes have their right names",
    "SKM012": "the class codes are those of HAM10000",
    "SKM013": "this run is a result",
    "SKM014": "any of this holds for real skin",
    "SKM015": "all pairs were tested on the same pictures",
    "SKM016": "all labels are right",
    "SKM017": "the pictures are independent of each other",
    "SKM018": "no near duplicates are in different folds",
}

#: Lessons that checks refer to.
_SCORES, _SPLITS, _CALIBRATION = "01_accuracy_lies", "03_same_lesion_twice", "07_calibration"
_NOISE, _DIALS = "08_is_it_really_better", "10_turn_the_dials"

CHECKS = [
    Check("SKM001", "Lesions on both sides of the split", "error", shared_lesions, _SPLITS),
    Check("SKM002", "Lesions unknown", "warning", unknown_lesions, _SPLITS),
    Check("SKM003", "Near duplicates across folds", "warning", near_duplicates, _SPLITS),
    Check("SKM004", "A class with few lesions", "note", few_lesions, _NOISE),
    Check("SKM005", "No better than a constant prediction", "warning", no_better_than_majority, _SCORES),
    Check("SKM006", "Less accurate than a constant prediction", "note", less_accurate, _SCORES),
    Check("SKM007", "A class that is never predicted", "warning", never_predicted, _SCORES),
    Check("SKM008", "A sampler that hurts calibration", "warning", hurt_calibration, _CALIBRATION),
    Check("SKM009", "A lead that is not shown", "warning", lead_not_shown, _NOISE),
    Check("SKM010", "Undecided differences", "note", undecided_differences, _NOISE),
    Check("SKM011", "Two classes exchanged", "error", exchanged_classes, _SCORES),
    Check("SKM012", "Class order unlike HAM10000's", "error", class_order),
    Check("SKM013", "A quick look", "warning", quick, _NOISE),
    Check("SKM014", "Synthetic pictures", "warning", synthetic, _DIALS),
    Check("SKM015", "Cells that failed or are missing", "error", missing_cells),
    Check("SKM016", "One picture, two classes", "error", relabelled_copies),
    Check("SKM017", "Copies in the table", "warning", copies, _SPLITS),
    Check("SKM018", "A search that was skipped", "note", skipped_search),
]


#: The findings that limit conclusions most come first within their severity; the others follow by code.
_FIRST = ("SKM014", "SKM013", "SKM005", "SKM009", "SKM007", "SKM010")


def check_run(analysis: Analysis) -> list[Concern]:
    """Return the findings of all checks on a run: errors, then warnings, then notes, the gravest first."""
    found = [(check, check.find(analysis)) for check in CHECKS]
    concerns = [Concern(check, sentence) for check, sentence in found if sentence is not None]
    return sorted(concerns, key=lambda concern: _gravity(concern.check))


def _gravity(check: Check) -> tuple[int, int]:
    place = _FIRST.index(check.code) if check.code in _FIRST else len(_FIRST)
    return SEVERITIES.index(check.severity), place
