"""Networks as data: what is refused, and what Keras makes of the rest."""

import numpy as np
import pytest

from skinmnist.errors import InputError
from skinmnist.models.blueprints import Augmentation, Training, read_blueprint, read_fields
from skinmnist.models.cnn.stacked import build_augmentation, build_stack, show_augmented

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


def test_parameters_of_three_convolutions_layer_by_layer():
    model = build_stack(read_blueprint(THREE), (75, 100, 3), 7)
    counts = [layer.count_params() for layer in model.layers if layer.count_params()]
    assert counts == [7168, 295040, 73792, 286784, 8320, 903]
    assert model.count_params() == 672007


def test_pictures_too_small_for_the_layers_are_refused_in_words():
    with pytest.raises(InputError, match="8 x 8 pixels, too small"):
        build_stack(read_blueprint(THREE), (8, 8, 3), 7)


def test_the_seed_decides_the_weights():
    first, again, other = (build_stack(read_blueprint(THREE), (28, 28, 3), 7, seed) for seed in (1, 1, 2))
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


EVERYTHING = Augmentation(20, 0.1, 0.1, 0.1, 0.2, "horizontal_and_vertical")


def test_augmentation_changes_every_version_and_repeats_with_its_seed():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    found = show_augmented(pictures, EVERYTHING, 3, seed=5)
    assert found.shape == (3, 3, 12, 12, 3)
    assert found.dtype == np.uint8
    assert len({version.tobytes() for version in found.reshape(9, -1)}) == 9
    np.testing.assert_array_equal(found, show_augmented(pictures, EVERYTHING, 3, seed=5))
    assert not np.array_equal(found, show_augmented(pictures, EVERYTHING, 3, seed=6))


def test_a_flip_keeps_the_pixels_and_moves_them():
    pictures = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 1), dtype=np.uint8)
    found = show_augmented(pictures, Augmentation(flip="horizontal"), 1)[:, 0]
    mirrored = [np.array_equal(new, old[:, ::-1]) for new, old in zip(found, pictures, strict=True)]
    kept = [np.array_equal(new, old) for new, old in zip(found, pictures, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert any(mirrored)
    assert any(kept)


def test_no_augmentation_changes_nothing():
    pictures = np.random.default_rng(0).random((2, 5, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(build_augmentation(Augmentation(), (5, 5, 3))(pictures), pictures)


def test_fields_are_read_or_refused_with_the_valid_ones_listed():
    assert read_fields(Training, "[training]", {"epochs": 3}).epochs == 3
    with pytest.raises(InputError, match=r"\[training\] received the key 'epoch'; valid keys are epochs"):
        read_fields(Training, "[training]", {"epoch": 3})
    with pytest.raises(InputError, match="whole number of at least 1"):
        read_fields(Training, "[training]", {"epochs": 0})
    with pytest.raises(InputError, match="whole number"):
        read_fields(Training, "[training]", {"epochs": True})
