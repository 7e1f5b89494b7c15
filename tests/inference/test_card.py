"""The model card."""

from __future__ import annotations

import json

import pytest

from skinmnist.datasets.decoding import decode_members
from skinmnist.inference.card import card_of, limits_of
from skinmnist.inference.manifest import Manifest, encode_manifest
from skinmnist.text import printable


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
