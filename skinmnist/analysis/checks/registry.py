"""The registry of checks: a plain list. To add a check is to add an entry; a test walks the list.

A check looks at a run and at its findings, and says one sentence with the numbers, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.checks import data as checks_data
from skinmnist.analysis.checks import scores as checks_scores
from skinmnist.experiment.run_folder.record import RunRecord

Severity = Literal["error", "warning", "note"]
#: What is told first.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
#: The heading in README.md under which every code is explained.
HEADING = "What would have fooled you"


@dataclass(frozen=True)
class Check:
    """One thing that could fool the reader of a run.

    Attributes
    ----------
    code : str
        ``SKM001``, ...: never given to another check.
    title : str
    severity : {"error", "warning", "note"}
        An error makes scores wrong, a warning makes them easy to misread, a note is worth knowing.
    find : callable
        Record and findings -> a sentence, or None where there is nothing to say.
    lesson : str
        The script in experiments/lessons that teaches it, without ``.py``; empty where none does.
    """

    code: str
    title: str
    severity: Severity
    find: Callable[[RunRecord, Analysis], str | None]
    lesson: str = ""

    @property
    def lesson_number(self) -> int:
        """The number by which ``python -m skinmnist.lessons`` runs its lesson; 0 where there is none."""
        return int(self.lesson[:2]) if self.lesson else 0


@dataclass(frozen=True)
class Concern:
    """What a check has found in a run."""

    check: Check
    sentence: str


#: The lessons that checks lead to.
SCORES, SPLITS, CALIBRATION = "01_accuracy_lies", "03_same_lesion_twice", "07_calibration"
NOISE, DIALS = "08_is_it_really_better", "10_turn_the_dials"

CHECKS = [
    Check("SKM001", "Lesions on both sides of the split", "error", checks_data.shared_lesions, SPLITS),
    Check("SKM002", "Lesions unknown", "warning", checks_data.unknown_lesions, SPLITS),
    Check("SKM003", "Look-alikes across folds", "warning", checks_data.near_duplicates, SPLITS),
    Check("SKM004", "A class with few lesions", "note", checks_data.few_lesions, NOISE),
    Check(
        "SKM005",
        "No better than always the same answer",
        "warning",
        checks_scores.no_better_than_majority,
        SCORES,
    ),
    Check(
        "SKM006", "Less often right than always the same answer", "note", checks_scores.less_accurate, SCORES
    ),
    Check("SKM007", "A class that is never predicted", "warning", checks_scores.never_predicted, SCORES),
    Check(
        "SKM008", "A sampler that hurts calibration", "warning", checks_scores.hurt_calibration, CALIBRATION
    ),
    Check("SKM009", "A lead smaller than its noise", "warning", checks_scores.lead_within_noise, NOISE),
    Check(
        "SKM010",
        "Differences smaller than their noise",
        "note",
        checks_scores.differences_within_noise,
        NOISE,
    ),
    Check("SKM011", "Two classes exchanged", "error", checks_scores.exchanged_classes, SCORES),
    Check("SKM012", "Class order unlike HAM10000's", "error", checks_data.class_order),
    Check("SKM013", "A quick look", "warning", checks_data.quick, NOISE),
    Check("SKM014", "Synthetic pictures", "warning", checks_data.synthetic, DIALS),
    Check("SKM015", "Cells that failed", "error", checks_data.failed_cells),
]


def check_run(record: RunRecord, analysis: Analysis) -> list[Concern]:
    """Return what the checks find in a run: errors first, then warnings, then notes, each by code."""
    told = [(check, check.find(record, analysis)) for check in CHECKS]
    found = [Concern(check, sentence) for check, sentence in told if sentence is not None]
    return sorted(found, key=lambda concern: SEVERITIES.index(concern.check.severity))
