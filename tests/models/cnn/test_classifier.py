"""The network as a scikit-learn classifier: its contracts, on tables small enough for seconds."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from skinmnist.datasets.mapped import MappedRows
from skinmnist.errors import InputError
from skinmnist.models.cnn.classifier import CNNClassifier

SHAPE = (8, 8, 3)
SMALL = {"steps": 6, "batch_size": 16, "channels": (8,), "pairs": (1,)}


def make_rows(n=60, shape=SHAPE, n_classes=3, seed=0):
    """Noise whose brightness tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    level = 40 + 160 * labels / max(n_classes - 1, 1)
    pixels = rng.normal(level[:, None], 20.0, (n, int(np.prod(shape)))).clip(0, 255).astype(np.uint8)
    return pixels, labels


@pytest.fixture(scope="module")
def table():
    return make_rows()


@pytest.fixture(scope="module")
def fitted(table):
    return CNNClassifier(SHAPE, **SMALL, random_state=1).fit(*table)


def test_same_seed_gives_the_same_weights_bit_for_bit(table, fitted):
    again = clone(fitted).fit(*table)
    assert len(again.weights_) == len(fitted.weights_)
    for first, second in zip(fitted.weights_, again.weights_, strict=True):
        assert first.tobytes() == second.tobytes()
    assert again.history_ == fitted.history_
    np.testing.assert_array_equal(again.predict_proba(table[0]), fitted.predict_proba(table[0]))


def test_another_seed_gives_other_weights(table, fitted):
    other = clone(fitted).set_params(random_state=2).fit(*table)
    assert not np.array_equal(other.weights_[0], fitted.weights_[0])


def test_a_seed_may_take_all_of_32_bits(table):
    model = CNNClassifier(SHAPE, **SMALL, random_state=2**32 - 1).fit(*table)
    assert np.isfinite(model.history_["loss"]).all()


def test_clone_and_parameters_round_trip():
    model = CNNClassifier(SHAPE, steps=7, channels=(16, 16), pairs=(0, 1), views=4, random_state=3)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert CNNClassifier(**model.get_params()).get_params() == model.get_params()
    assert not hasattr(copy, "weights_")


def test_pickled_model_predicts_the_same(table, fitted):
    fitted.predict_proba(table[0][:2])
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(restored.predict_proba(table[0]), fitted.predict_proba(table[0]))


def test_probabilities_are_float64_rows_that_sum_to_one(table, fitted):
    probabilities = fitted.predict_proba(table[0])
    assert probabilities.dtype == np.float64
    assert probabilities.shape == (len(table[0]), 3)
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(fitted.predict(table[0]), probabilities.argmax(axis=1))


def test_float_rows_are_rounded_to_the_nearest_pixel(table, fitted):
    pixels, labels = table
    between = np.clip(pixels + np.random.default_rng(0).uniform(-0.4, 0.4, pixels.shape), 0, 255)
    from_floats = clone(fitted).fit(between.astype(np.float32), labels)
    np.testing.assert_array_equal(from_floats.weights_[0], fitted.weights_[0])
    np.testing.assert_array_equal(from_floats.predict_proba(between), fitted.predict_proba(pixels))


def test_steps_do_not_follow_the_number_of_rows(table, fitted):
    pixels, labels = table
    tripled = clone(fitted).fit(np.tile(pixels, (3, 1)), np.tile(labels, 3))
    assert tripled.history_["step"] == fitted.history_["step"]
    assert fitted.history_["step"][-1] == SMALL["steps"]


def test_history_has_one_value_of_everything_at_each_point(table):
    history = CNNClassifier(SHAPE, **{**SMALL, "steps": 45}).fit(*table).history_
    assert set(history) == {"step", "loss", "accuracy", "learning_rate"}
    assert {len(values) for values in history.values()} == {30}
    assert np.isfinite(history["loss"]).all()
    assert history["accuracy"][-1] > history["accuracy"][0]


def test_rows_of_weight_zero_have_no_influence(table):
    pixels, labels = table
    weights = np.ones(len(labels))
    weights[::4] = 0
    model = CNNClassifier(SHAPE, **SMALL)
    with_zeros = clone(model).fit(pixels, labels, sample_weight=weights)
    without = clone(model).fit(pixels[weights > 0], labels[weights > 0])
    np.testing.assert_array_equal(with_zeros.weights_[0], without.weights_[0])


def test_only_the_proportions_of_weights_matter(table, fitted):
    weighted = clone(fitted).fit(*table, sample_weight=np.full(len(table[1]), 5.0))
    np.testing.assert_array_equal(weighted.weights_[0], fitted.weights_[0])


def test_weights_move_the_decision_towards_the_heavy_class(table):
    pixels = np.random.default_rng(0).integers(0, 256, table[0].shape, dtype=np.uint8)
    labels = table[1]
    model = CNNClassifier(SHAPE, **{**SMALL, "steps": 20})
    heavy = clone(model).fit(pixels, labels, sample_weight=np.where(labels == 2, 20.0, 1.0))
    light = clone(model).fit(pixels, labels, sample_weight=np.where(labels == 2, 0.05, 1.0))
    assert heavy.predict_proba(pixels)[:, 2].mean() > light.predict_proba(pixels)[:, 2].mean() + 0.2


def test_all_views_make_the_prediction_indifferent_to_turning(table, fitted):
    pictures = table[0].reshape(-1, *SHAPE)
    expected = fitted.predict_proba(table[0])
    for turned in (pictures[:, ::-1], pictures[:, :, ::-1], np.rot90(pictures, axes=(1, 2))):
        rows = np.ascontiguousarray(turned).reshape(len(turned), -1)
        np.testing.assert_allclose(fitted.predict_proba(rows), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "n_classes"),
    [((8, 8, 1), 2), ((8, 8, 3), 50), ((28, 28, 1), 7), ((30, 22, 3), 4), ((128, 128, 3), 3)],
)
def test_sizes_channels_and_numbers_of_classes(shape, n_classes):
    pixels, labels = make_rows(max(10, 3 * n_classes), shape, n_classes)
    model = CNNClassifier(shape, steps=1, batch_size=4, channels=(8, 16, 16)).fit(pixels, labels + 5)
    assert model.predict_proba(pixels).shape == (len(pixels), n_classes)
    assert set(model.predict(pixels)) <= set(range(5, 5 + n_classes))
    assert model.n_features_in_ == pixels.shape[1]


def test_names_serve_as_classes(table, fitted):
    names = np.array(["akiec", "bcc", "mel"])
    named = clone(fitted).fit(table[0], names[table[1]])
    np.testing.assert_array_equal(named.predict(table[0]), names[fitted.predict(table[0])])


def test_an_easy_task_is_learnt():
    pixels, labels = make_rows(300)
    held_out, truth = make_rows(90, seed=1)
    model = CNNClassifier(SHAPE, steps=60, batch_size=32, channels=(16,), pairs=(1,), colour_spread=0.0)
    assert model.fit(pixels, labels).score(held_out, truth) > 0.9


@pytest.mark.parametrize(
    ("pixels", "labels", "weights", "words"),
    [
        (np.zeros((4, 5), np.uint8), [0, 1, 0, 1], None, "8 x 8 pictures of 3 channels"),
        (np.full((4, 192), 300.0), [0, 1, 0, 1], None, "between 300.0 and 300.0"),
        (np.full((4, 192), np.nan), [0, 1, 0, 1], None, "expected 0 to 255"),
        (np.zeros((4, 192), np.uint8), [0, 1, 0], None, "for 4 rows"),
        (np.zeros((4, 192), np.uint8), [0, 0, 0, 0], None, "one class only"),
        (np.zeros((4, 192), np.uint8), [0, 1, 0, 1], [1, -1, 1, 1], "at least 0"),
        (np.zeros((4, 192), np.uint8), [0, 1, 0, 1], [0, 0, 0, 0], "not all of them 0"),
    ],
)
def test_bad_input_is_refused_in_words(pixels, labels, weights, words):
    with pytest.raises(InputError, match=words):
        CNNClassifier(SHAPE, **SMALL).fit(pixels, np.array(labels), sample_weight=weights)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"views": 3}, "3 views to average; choose 1, 2, 4 or 8"),
        ({"balance": "even"}, "the balance 'even'"),
        ({"loss": "hinge"}, "the loss 'hinge'"),
        ({"pairs": (1, 1)}, "one of each for every stage"),
    ],
)
def test_bad_parameters_are_refused_in_words(table, changes, words):
    with pytest.raises(InputError, match=words):
        CNNClassifier(SHAPE, **{**SMALL, **changes}).fit(*table)


@pytest.mark.parametrize(
    "strategy",
    [
        {"balance": "balanced_batches"},
        {"balance": "sqrt_batches"},
        {"loss": "focal"},
        {"loss": "logit_adjusted"},
    ],
)
def test_strategies_are_wired_to_the_training(table, strategy):
    pixels, labels = table
    rare = np.flatnonzero((labels < 2) | (np.arange(len(labels)) < 9))
    plain = CNNClassifier(SHAPE, **SMALL)
    changed = clone(plain).set_params(**strategy)
    weights = [model.fit(pixels[rare], labels[rare]).weights_[0] for model in (plain, changed)]
    assert not np.array_equal(*weights)


def test_sample_indices_give_what_the_rows_themselves_give(table):
    pixels, labels = table
    order = np.random.default_rng(0).permutation(len(labels))
    model = CNNClassifier(SHAPE, **SMALL)
    by_position = clone(model).fit(pixels, labels, sample_indices=order).history_["loss"]
    given = clone(model).fit(pixels[order], labels[order]).history_["loss"]
    np.testing.assert_allclose(by_position, given, rtol=1e-3)
    assert by_position != clone(model).fit(pixels, labels).history_["loss"]


def test_rows_outside_the_sample_indices_are_not_learnt(table):
    pixels, labels = table
    half, twisted = np.flatnonzero(np.arange(len(labels)) % 2), labels.copy()
    twisted[::2] = (twisted[::2] + 1) % 3
    losses = [
        CNNClassifier(SHAPE, **SMALL).fit(pixels, changed, sample_indices=np.repeat(half, 2)).history_["loss"]
        for changed in (labels, twisted)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("sample_indices", "weights"), [([], None), ([0, 60], None), ([-1], None), ([0, 1], np.ones(60))]
)
def test_sample_indices_out_of_range_are_refused(table, sample_indices, weights):
    with pytest.raises(InputError, match="sample indices for 60 rows"):
        CNNClassifier(SHAPE, **SMALL).fit(
            *table, sample_weight=weights, sample_indices=np.array(sample_indices, int)
        )


def test_every_class_is_in_the_sample_indices(table):
    with pytest.raises(InputError, match="without a row of class 2"):
        CNNClassifier(SHAPE, **SMALL).fit(*table, sample_indices=np.flatnonzero(table[1] < 2))


@pytest.mark.parametrize("name", ["steps", "batch_size", "points", "rate_patience", "stop_patience"])
def test_counts_below_one_are_refused(table, name):
    with pytest.raises(InputError, match=f"received 0 as {name}"):
        CNNClassifier(SHAPE, **{**SMALL, name: 0}).fit(*table)


def make_noise(n=60):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 192), dtype=np.uint8), np.arange(n) % 3


@pytest.mark.parametrize("strategy", [{}, {"balance": "sqrt_batches"}])
def test_mapped_rows_in_other_parts_give_the_weights_of_rows_in_memory_bit_for_bit(monkeypatch, strategy):
    pixels, labels = make_noise()
    chosen = np.arange(0, len(labels), 2)[::-1].copy()
    sample_indices = np.repeat(np.arange(len(chosen)), 2)
    held = CNNClassifier(SHAPE, **SMALL, **strategy, random_state=1)
    held.fit(pixels[chosen], labels[chosen], sample_indices=sample_indices)
    monkeypatch.setattr("skinmnist.models.cnn.training.STREAMED_STEPS", 4)
    mapped = clone(held).fit(MappedRows(pixels, chosen), labels[chosen], sample_indices=sample_indices)
    for first, second in zip(held.weights_, mapped.weights_, strict=True):
        assert first.tobytes() == second.tobytes()
    np.testing.assert_allclose(mapped.history_["loss"], held.history_["loss"], rtol=1e-5)
    np.testing.assert_allclose(mapped.history_["accuracy"], held.history_["accuracy"], rtol=1e-5)


def test_mapped_rows_are_read_some_batches_at_a_time(monkeypatch):
    pixels, labels = make_noise(400)
    read = []

    class Noted(MappedRows):
        def __getitem__(self, which):
            found = super().__getitem__(which)
            return Noted(found.source, found.rows, found.row_shape)

        def reshape(self, n, *row_shape):
            return Noted(self.source, self.rows, row_shape)

        def __array__(self, dtype=None, copy=None):
            read.append(len(self))
            return super().__array__(dtype, copy)

    monkeypatch.setattr("skinmnist.models.cnn.training.STREAMED_STEPS", 4)
    CNNClassifier(SHAPE, **SMALL).fit(Noted(pixels, np.arange(400)), labels)
    assert max(read) <= 256
    assert len(read) > 2


@pytest.mark.parametrize(
    "rows", [np.zeros((4, 191), np.uint8), np.zeros((4, 192)), np.zeros((0, 192), np.uint8)]
)
def test_mapped_rows_that_are_no_pixels_are_refused(rows):
    with pytest.raises(InputError, match="unscaled pixels"):
        CNNClassifier(SHAPE).fit(MappedRows(rows, np.arange(len(rows))), np.arange(len(rows)))


def test_features_are_extracted_from_mapped_rows():
    pixels, labels = make_noise()
    settings = {**SMALL, "feature_layers": (4,), "steps": 2}
    held = CNNClassifier(SHAPE, **settings).fit(pixels, labels)
    mapped = CNNClassifier(SHAPE, **settings).fit(MappedRows(pixels, np.arange(len(labels))), labels)
    for first, second in zip(held.weights_, mapped.weights_, strict=True):
        assert first.tobytes() == second.tobytes()
