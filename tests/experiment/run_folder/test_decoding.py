"""Reading and writing are inverse, and what does not fit is named."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from skinmnist.experiment.run_folder.decoding import OPTIONAL, Between, decode, encode


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
