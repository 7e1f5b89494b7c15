"""Arrays and dataclasses are read as they were written, and what does not fit is refused in one line."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import pytest

from skinmnist.datasets.decoding import (
    MOST_MEMBERS,
    OPTIONAL,
    Between,
    decode,
    decode_array,
    decode_arrays,
    decode_members,
    encode,
    encode_array,
    encode_arrays,
    take_array,
)

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(8, dtype=np.int64).reshape(2, 2, 2).transpose(2, 0, 1),
    "c": np.empty((0, 4), np.uint8),
    "d": np.array(["x", "yz"]),
    "e": np.int16(7),
}


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return stream.getvalue()


def test_what_is_encoded_is_decoded():
    found = decode_arrays(encode_arrays(ARRAYS))
    assert list(found) == list(ARRAYS)
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(found[name], values)
        np.testing.assert_array_equal(decode_array(encode_array(values), name), values)
    assert encode_arrays(ARRAYS) == encode_arrays(ARRAYS)


def test_objects_are_not_encoded():
    for write in (encode_array, lambda values: encode_arrays({"a": values})):
        with pytest.raises(ValueError, match="pickle"):
            write(np.array([object()]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "BadZipFile"),
        (encode_arrays(ARRAYS)[:-30], "BadZipFile"),
        (zipped(a=encode_array(ARRAYS["a"]) + b"x"), "'a' holds data after its array"),
        (zipped(a=encode_array(ARRAYS["a"])[:-1]), "'a' is not an array"),
        (zipped(a=b"PK\3\4"), "'a' is not an array"),
        (zipped(**{f"m{n}": b"" for n in range(MOST_MEMBERS + 1)}), "more than 256 members"),
    ],
)
def test_what_is_none_is_refused(content, message):
    with pytest.raises(ValueError, match=message) as refused:
        decode_arrays(content)
    assert "\n" not in str(refused.value)


def test_a_bomb_is_not_unpacked():
    with pytest.raises(ValueError, match="expected at most 1,000,000"):
        decode_members(encode_arrays({"codes": np.zeros(10**6)}), most=10**6)


def test_a_shape_of_exabytes_takes_no_memory():
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999), }".ljust(117) + "\n"
    with pytest.raises(ValueError, match="'a' is not an array"):
        decode_array(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode(), "a")


def test_arrays_are_taken_by_kind_and_shape():
    assert take_array(ARRAYS, "a", "f", (None, 3)) is ARRAYS["a"]
    for name, kinds, shape in [("a", "f", (3,)), ("a", "f", (3, 3)), ("a", "iu", (2, 3)), ("z", "f", ())]:
        with pytest.raises(ValueError, match=f"the array {name} is"):
            take_array(ARRAYS, name, kinds, shape)


@dataclass(frozen=True)
class Inner:
    name: str
    pair: tuple[int, float] = (1, 2.5)


@dataclass(frozen=True)
class Outer:
    count: Annotated[int, Between(1, 10)]
    kind: Literal["a", "b"]
    inner: Inner
    many: tuple[Inner, ...] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    known: bool | None = None
    note: str = field(default="", metadata=OPTIONAL)


WHOLE = Outer(3, "b", Inner("x"), (Inner("y", (2, 0.0)),), {"k": Inner("z")}, True, "said")


@pytest.mark.parametrize("value", [WHOLE, Outer(1, "a", Inner(""))])
def test_what_is_written_is_read(value):
    assert decode(Outer, json.loads(json.dumps(encode(value)))) == value


def test_an_empty_optional_field_is_left_out_and_no_other():
    assert list(encode(Outer(1, "a", Inner("")))) == ["count", "kind", "inner", "many", "by_name", "known"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": 11}, "count is 11, expected a number from 1 to 10"),
        ({"count": True}, "count is True, expected a whole number"),
        ({"count": 10**400}, "count is 1000"),
        ({"kind": ["a"]}, "kind is ['a'], expected one of a, b"),
        ({"inner": {}}, "inner.name is missing, expected a text"),
        ({"inner": {"name": "\ud800"}}, r"inner.name is '\ud800', expected a text"),
        ({"inner": {"name": "x", "pair": [1]}}, "inner.pair is [1], expected a list of 2"),
        ({"inner": {"name": "x", "pair": [1, float("nan")]}}, "inner.pair[1] is nan, expected a number"),
        ({"many": [{"name": 1}]}, "many[0].name is 1, expected a text"),
        ({"by_name": []}, "by_name is [], expected an object"),
        ({"known": 0}, "known is 0, expected true or false"),
    ],
)
def test_what_does_not_fit_is_named(change, said):
    with pytest.raises(ValueError, match=r"expected|missing") as refused:
        decode(Outer, encode(WHOLE) | change)
    assert str(refused.value).startswith(said)
    assert len(str(refused.value)) < 200


def test_what_is_not_known_is_passed_over():
    assert decode(Outer, encode(WHOLE) | {"new": [1]}) == WHOLE
