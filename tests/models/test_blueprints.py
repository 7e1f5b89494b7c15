"""Networks as data: what is refused."""

import pytest

from skinmnist.errors import InputError
from skinmnist.models.blueprints import Training, read_blueprint, read_fields

THREE = [
    {"convolution": 256},
    {"max_pool": 2},
    {"dropout": 0.25},
    {"convolution": 128},
    {"max_pool": 2},
    {"convolution": 64},
    {"max_pool": 2},
    {"flatten": True},
    {"dense": 64},
    {"dense": 128},
]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([{"convolutoin": 3}], "exactly one of"),
        ([{"convolution": 3, "dense": 4}], "exactly one of"),
        ([{"convolution": 0}, {"flatten": True}], "at least 1"),
        ([{"convolution": 3, "padding": "full"}, {"flatten": True}], "padding"),
        ([{"convolution": 3, "stride": 2}, {"flatten": True}], "stride"),
        ([{"dropout": 1.5}, {"flatten": True}], "share"),
        ([{"convolution": 3}], "exactly one flatten"),
        ([{"flatten": True}, {"convolution": 3}], "exactly one flatten"),
        ([{"dense": 3}, {"flatten": True}], "before its flatten"),
        ([], "exactly one flatten"),
    ],
)
def test_what_makes_no_network_is_refused(layers, words):
    with pytest.raises(InputError, match=words):
        read_blueprint(layers)


def test_batch_norm_is_put_behind_the_kinds_named():
    found = read_blueprint(THREE, ["max_pool", "dense"])
    kinds = [layer.kind for layer in found.layers]
    assert kinds.count("batch_norm") == 5
    assert all(kinds[i - 1] in ("max_pool", "dense") for i, kind in enumerate(kinds) if kind == "batch_norm")
    with pytest.raises(InputError, match="batch_norm_after 'flatten'"):
        read_blueprint(THREE, ["flatten"])


def test_fields_are_read_or_refused_with_the_valid_ones_listed():
    assert read_fields(Training, "[training]", {"epochs": 3}).epochs == 3
    with pytest.raises(InputError, match=r"\[training\] received the key 'epoch'; valid keys are epochs"):
        read_fields(Training, "[training]", {"epoch": 3})
    with pytest.raises(InputError, match="whole number of at least 1"):
        read_fields(Training, "[training]", {"epochs": 0})
    with pytest.raises(InputError, match="whole number"):
        read_fields(Training, "[training]", {"epochs": True})
