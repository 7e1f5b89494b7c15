import json

import numpy as np
import pytest

from skinmnist.datasets.decoding import decode_members
from skinmnist.inference.manifest import Arrays, Manifest, UnreadableError, encode_manifest, number, words


def test_a_manifest_survives(tiny):
    content = json.loads(decode_members(tiny)["manifest.json"])
    manifest = Manifest.read(encode_manifest(content))
    assert manifest.content == content
    assert manifest.shape == (8, 8, 3)
    assert list(manifest.class_names) == [one["name"] for one in content["classes"]]
    assert manifest.scores == {}
    scored = {**content, "scores": {"metrics": {"macro_f1": {"mean": 0.5, "sd": 0.1}}}}
    assert Manifest.read(encode_manifest(scored)).scores == {"macro_f1": (0.5, 0.1)}


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
