"""How numbers and names are written."""

from __future__ import annotations

import pandas as pd

from skinmnist.reporting.format import (
    ascending,
    by_verdict,
    change,
    count,
    duration,
    evidence,
    fixed,
    listing,
    probability,
    shorten,
    signed,
    space_title,
    with_spread,
)


def test_numbers_and_names() -> None:
    assert with_spread(0.6124, 0.0144) == "0.612 ± 0.014"
    assert with_spread(0.6124, float("nan")) == "0.612"
    assert (fixed(float("nan")), fixed(-0.0001), signed(-0.25), signed(0.25)) == (
        "–",
        "0.000",
        "−0.250",
        "+0.250",
    )
    assert (duration(4.21), duration(512.3), duration(7300)) == ("4.2 s", "8 min 32 s", "2 h 1 min")
    assert (count(1, "fold"), count(7470, "lesion"), count(2, "class", "classes")) == (
        "1 fold",
        "7,470 lesions",
        "2 classes",
    )
    assert (listing(["a"]), listing(["a", "b", "c"]), listing([])) == ("a", "a, b and c", "")
    assert shorten("a very long name", 8) == "a very…"
    assert space_title("SMOTE", "pixels") == "SMOTE on pixels"
    assert space_title("class_weight", "pixels") == "class_weight"


def test_evidence_and_probabilities() -> None:
    row = {"difference": 0.0334, "low": -0.0034, "high": 0.0702, "p_simultaneous": 0.2591, "folds": 5}
    row |= {"tests": 9, "single_low": 0.01, "single_high": 0.05}
    words = "95 % interval over 5 folds from −0.003 to +0.070, p = 0.259"
    assert evidence(row) == f"{words}, for 9 comparisons together"
    assert evidence(row | {"tests": 1}) == words
    assert change(row) == "+0.033 [−0.003, +0.070]"
    unknown = row | {"low": float("nan"), "folds": 2}
    assert evidence(unknown) == "no interval: fewer than 3 folds in common"
    assert change(unknown) == "+0.033"
    assert (probability(0.0001), probability(float("nan")), probability(0.04)) == ("< 0.001", "–", "= 0.040")


def test_training_without_a_sampler_is_told_in_words() -> None:
    outcomes = [("better", "none", "+1"), ("better", "SMOTE", "+2"), ("better", "ADASYN", "+3")]
    assert by_verdict(outcomes) == "better without a sampler (+1), with SMOTE (+2) and ADASYN (+3)."


def test_of_many_outcomes_the_ends_are_named() -> None:
    many = [{"verdict": "undecided", "difference": gap} for gap in (5, 1, 7, 3, 2, 6, 4)]
    outcomes = [
        (row["verdict"], f"S{row['difference']}", f"+{row['difference']}")
        for row in ascending(pd.DataFrame(many))
    ]
    assert by_verdict(outcomes) == "undecided in 7 comparisons, from +1 (S1) to +7 (S7)."
    few = pd.DataFrame(many[:3])
    assert [row["difference"] for row in ascending(few)] == [5, 1, 7]
