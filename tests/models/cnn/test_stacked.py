"""Published networks as classifiers: the contracts of every network here, on tables for seconds."""

import numpy as np
import pytest
from sklearn.base import clone

from skinmnist.errors import InputError
from skinmnist.models.blueprints import Augmentation, Training, read_blueprint
from skinmnist.models.cnn.stacked import (
    PublishedNetwork,
    _Batches,
    build_augmentation,
    build_stack,
    show_augmented,
)

SHAPE = (6, 9, 3)
STACK = read_blueprint(
    [
        {"convolution": 4, "padding": "same"},
        {"max_pool": 2},
        {"dropout": 0.1},
        {"flatten": True},
        {"dense": 8},
    ]
)
BRIEF = Training(epochs=8, batch_size=16, learning_rate=0.01)


def make_rows(n=90, seed=0):
    random_state = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    pixels = random_state.normal(40 + 80 * labels[:, None], 15, (n, 162)).clip(0, 255).astype(np.uint8)
    return pixels, labels


@pytest.fixture(scope="module")
def fitted():
    augmentation = Augmentation(rotation=10, flip="horizontal")
    return PublishedNetwork(SHAPE, STACK, BRIEF, augmentation, random_state=3).fit(*make_rows())


def test_it_learns_and_answers_probabilities(fitted):
    rows, labels = make_rows(seed=1)
    found = fitted.predict_proba(rows)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (fitted.predict(rows) == labels).mean() > 0.8
    assert len(fitted.history_["loss"]) == 8
    assert fitted.history_["loss"][-1] < fitted.history_["loss"][0]


def test_the_same_seed_gives_the_same_weights(fitted):
    again = clone(fitted).fit(*make_rows())
    for one, two in zip(fitted.model_.get_weights(), again.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    other = clone(fitted).set_params(random_state=4).fit(*make_rows())
    assert not np.array_equal(other.model_.get_weights()[0], fitted.model_.get_weights()[0])


# Keras reads the rate of its optimizer in a way that numpy means to drop.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_patience_needs_a_validation_set_and_ends_the_run():
    rows, labels = make_rows()
    patient = Training(epochs=12, batch_size=32, monitor="accuracy", rate_patience=1, stop_patience=2)
    model = PublishedNetwork(SHAPE, STACK, patient)
    with pytest.raises(InputError, match="no validation set"):
        model.fit(rows, labels)
    nonsense = np.random.default_rng(0).permutation(labels)
    model.fit(rows, labels, validation_data=(rows, nonsense))
    assert len(model.history_["validation_accuracy"]) < 12


def test_batches_pass_over_every_sample_index_once_and_know_the_copies():
    sample_indices = np.array([0, 1, 2, 2, 2, 1])
    batches = _Batches(
        np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), np.arange(3), np.ones(3), sample_indices, 4, seed=0
    )
    for _ in range(3):
        parts = [batches[number] for number in range(len(batches))]
        pictures = np.concatenate([part[0][0].ravel() for part in parts])
        copies = np.concatenate([part[0][1].ravel() for part in parts])
        assert sorted(pictures) == [0, 1, 1, 2, 2, 2]
        assert [copies[pictures == row].sum() for row in range(3)] == [0, 1, 2]
        batches.on_epoch_end()


def test_copies_only_leaves_first_pictures_as_they_are():
    model = PublishedNetwork(SHAPE, STACK, BRIEF, Augmentation(rotation=90, copies_only=True))
    rows, labels = make_rows(30)
    model.fit(rows, labels, sample_indices=np.arange(30))
    plain = PublishedNetwork(SHAPE, STACK, BRIEF).fit(rows, labels)
    np.testing.assert_allclose(model.predict_proba(rows), plain.predict_proba(rows), atol=1e-5)
    sample_indices = np.r_[np.arange(30), np.arange(30)]
    changed, copied = (
        each.fit(rows, labels, sample_indices=sample_indices).predict_proba(rows) for each in (model, plain)
    )
    assert np.abs(changed - copied).max() > 1e-3, "copies are changed"


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
