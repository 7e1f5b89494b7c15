from __future__ import annotations

import json

import numpy as np
import pytest

from skinmnist.datasets.decoding import decode_members
from skinmnist.inference.manifest import (
    Arrays,
    Manifest,
    UnreadableError,
    card_of,
    encode_manifest,
    limits_of,
    number,
    words,
)
from skinmnist.text import printable


def test_a_manifest_survives(tiny):
    content = json.loads(decode_members(tiny)["manifest.json"])
    manifest = Manifest.read(encode_manifest(content))
    assert manifest.content == content
    assert manifest.shape == (8, 8, 3)
    assert list(manifest.class_names) == [one["name"] for one in content["classes"]]
    assert manifest.scores == {}
    scored = {**content, "scores": {"metrics": {"macro_f1": {"mean": 0.5, "sd": 0.1}}}}
    assert Manifest.read(encode_manifest(scored)).scores == {"macro_f1": (0.5, 0.1)}


SETS = {"alpha": 0.1, "thresholds": [0.2, 0.1, 0.3, 0, 0.5, 0.1, 0.2], "pictures": [30] * 3 + [3] + [30] * 3}


def test_the_rule_of_sets(tiny):
    content = json.loads(decode_members(tiny)["manifest.json"])
    assert Manifest.read(encode_manifest(content)).sets is None
    rule = Manifest.read(encode_manifest({**content, "conformal": SETS})).sets
    assert (rule.alpha, rule.thresholds, rule.always) == (0.1, tuple(SETS["thresholds"]), ("df",))
    promise = "is meant to hold the right class in 90 of 100 pictures of each class"
    assert rule.promise == f"{promise}; df is in every answer, with too few pictures to calibrate"
    card = card_of(Manifest.read(encode_manifest({**content, "conformal": SETS})))
    assert "| df | none: in every set | 3 |" in card
    assert "| nv | 0.5000 | 30 |" in card


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0},
        {"alpha": 0.9},
        {"alpha": None},
        {"thresholds": [0.1] * 6},
        {"thresholds": [0.1] * 6 + [2]},
        {"thresholds": [0.1] * 6 + [float("1e999")]},
        {"thresholds": "0123456"},
        {"pictures": [1] * 8},
        {"pictures": [-1] * 7},
    ],
)
def test_a_rule_of_sets_that_is_none(change, tiny):
    content = json.loads(decode_members(tiny)["manifest.json"])
    encoded = json.dumps({**content, "conformal": SETS | change}).encode()
    with pytest.raises(UnreadableError, match="its entry"):
        Manifest.read(encoded)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 10**400, 2, -1])
def test_what_is_no_number_within_limits(value):
    with pytest.raises(UnreadableError, match="'share' is not"):
        number(value, "share", 0, 1)


@pytest.mark.parametrize("value", ["", "a\nb", "\x1b[2J", "\u202e", "x" * 201, 1, None])
def test_what_is_no_plain_text(value):
    with pytest.raises(UnreadableError, match="'title' is not plain text of at most 200 characters"):
        words(value, "title")


def test_arrays_are_taken_by_shape():
    arrays = Arrays({"a": np.float32([[1, 2]]), "b": np.int32([3]), "c_x": np.float32([1])})
    for shape in ((2, 1), (2,), (1, 2, 1)):
        with pytest.raises(UnreadableError, match="array a is float32 of 1 x 2"):
            arrays.floats("a", shape)
    assert arrays.floats("a", (None, 2)).tolist() == [[1, 2]]
    with pytest.raises(UnreadableError, match="array a is missing"):
        arrays.floats("a", (None, 2))
    with pytest.raises(UnreadableError, match="has values outside"):
        arrays.integers("b", (1,), 2)
    assert list(arrays.beginning("c_")) == ["x"]
    with pytest.raises(UnreadableError, match="array d is empty"):
        Arrays({"d": np.empty(0)}).floats("d", (None,))


@pytest.fixture
def content(tiny):
    return json.loads(decode_members(tiny)["manifest.json"])


def card(content) -> str:
    return card_of(Manifest.read(encode_manifest(content)))


def test_a_card_has_classes_data_scores_operating_point_and_limits(content, small_table):
    text = card(content)
    for name, rows in zip(small_table.class_names, small_table.class_counts, strict=True):
        assert f"| {name} | " in text
        assert f" | {rows} |" in text
    assert f"{len(small_table)} synthetic pictures" in text
    assert small_table.digest() in text
    assert "None: the model was not cross-validated" in text
    assert "no threshold was tuned" in text
    rarest = small_table.class_names[small_table.class_counts.argmin()]
    assert f"The rarest class, {rarest}, has {small_table.class_counts.min()} training pictures" in text
    assert "say nothing about real skin" in text
    assert "not a medical device" in text


def test_scores_are_those_of_the_cross_validation(content):
    metrics = {"macro_f1": {"mean": 0.5, "sd": 0.125}, "recall_mel": {"mean": 0.4, "sd": 0.1}}
    content["scores"] = {"protocol": {"folds": 3, "split": "lesion"}, "metrics": metrics}
    content["limits"] = limits_of(content)
    text = card(content)
    assert "over 3 folds" in text
    assert "| macro_f1 | 0.500 | 0.125 |" in text
    assert "fewer than half of the held-out pictures of mel (0.40)" in text
    assert "it has no scores" not in text


@pytest.mark.parametrize("key", ["limits", "notes", "training", "versions", "operating_point", "licence"])
@pytest.mark.parametrize("value", [None, 3, "\x1b[2J|`<b>", ["\x1b[2J\n# x", {"a": [1]}], {"rows": "\u202e"}])
def test_a_card_of_anything_is_plain(content, key, value):
    """A file may come from anywhere: its card neither steers a terminal nor fails."""
    content[key] = (
        {**content["training"], **(value if isinstance(value, dict) else {"table": value})}
        if (key == "training")
        else value
    )
    text = card(content)
    assert all(printable(line, None) == line for line in text.splitlines())
    assert "<b>" not in text.replace("\\<b>", "")


def test_a_file_of_an_earlier_version_says_less(content):
    del content["limits"], content["operating_point"]
    assert card(content).count("The file does not say.") == 2
