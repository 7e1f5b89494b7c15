"""How numbers and names are written."""

from __future__ import annotations

from skinmnist.reporting.format import (
    count,
    duration,
    fixed,
    listing,
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
