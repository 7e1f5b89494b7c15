from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from skinmnist.datasets.mapped import MappedRows
from skinmnist.experiment import fit_cell as fit_cell_module
from skinmnist.experiment import inputs
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.grid import resolve_samplers
from skinmnist.experiment.inputs import (
    Inputs,
    TrainingRows,
    balanced_weights,
    choose_training_rows,
    extract_table_features,
    resample_all,
    resample_rows,
    subsample,
    subsample_resampled,
)
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.splits import LEFT_OUT
from skinmnist.features.extract import extract_features
from skinmnist.models.registry import MODELS
from skinmnist.models.spec import FeatureSettings, ModelSpec, Setting
from skinmnist.resampling.registry import Resampler


@pytest.fixture
def fold_of(lesions):
    return np.arange(len(lesions), dtype=np.int8) % 3


@pytest.mark.parametrize("model", ["logistic_regression", "cnn", "dummy"])
def test_a_large_table_gives_the_same_rows(lesions, fold_of, model):
    rows = np.array([3, 300, 17])
    small, large = (Inputs(lesions, MODELS[model], fold_of, large=large) for large in (False, True))
    np.testing.assert_allclose(large.take(rows), small.take(rows), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(large.view(rows)), large.take(rows))
    assert large.take(rows).dtype == small.take(rows).dtype
    assert isinstance(large.view(rows), MappedRows) == (model == "cnn")
    assert not isinstance(small.view(rows), MappedRows)


def test_blocks_leave_no_trace_but_rounding(lesions, fold_of, monkeypatch):
    rows = np.arange(100)
    whole = Inputs(lesions, MODELS["svm"], fold_of, large=True).take(rows)
    monkeypatch.setattr("skinmnist.experiment.inputs.BLOCK_ROWS", 7)
    parts = Inputs(lesions, MODELS["svm"], fold_of, large=True)
    np.testing.assert_allclose(parts.take(rows), whole, rtol=1e-4, atol=1e-4)
    assert parts.seconds > 0


@pytest.mark.parametrize(("model", "exact"), [("cnn_tiny", True), ("logistic_regression", False)])
def test_a_cell_of_a_large_table_answers_as_one_in_memory(lesions, monkeypatch, model, exact):
    plan = make_plan(lesions, ["RandomOverSampler"], [model], 3, 1, None, 0, None)
    cell = Cell("RandomOverSampler", model, 0, 0)
    in_memory = fit_cell(cell, lesions, plan.task)
    monkeypatch.setattr(inputs, "is_large", lambda table: True)
    monkeypatch.setattr("skinmnist.models.cnn.training.STREAMED_STEPS", 3)
    monkeypatch.setattr(fit_cell_module, "ROWS_AT_ONCE", 50)
    streamed = fit_cell(cell, lesions, plan.task)
    np.testing.assert_array_equal(streamed.rows, in_memory.rows)
    tolerance = 1e-6 if exact else 1e-2
    np.testing.assert_allclose(streamed.probabilities, in_memory.probabilities, atol=tolerance)
    assert streamed.notes == in_memory.notes


def test_models_that_hold_their_rows_are_given_a_draw_that_keeps_the_classes(lesions, monkeypatch):
    monkeypatch.setattr(inputs, "MOST_ROWS", 200)
    train = np.arange(len(lesions))[::-1].copy()
    labels = lesions.labels[train]
    rows, notes = choose_training_rows(train, labels, MODELS["svm"], Resampler("none", seed=3))
    assert 193 <= len(rows) <= 200
    assert len(np.unique(rows)) == len(rows)
    before, after = np.bincount(labels), np.bincount(lesions.labels[rows])
    np.testing.assert_allclose(after / len(rows), before / len(labels), atol=0.01)
    assert "of the 360 training rows" in notes[0]
    again, _ = choose_training_rows(train, labels, MODELS["svm"], Resampler("none", seed=3))
    np.testing.assert_array_equal(again, rows)
    other, _ = choose_training_rows(train, labels, MODELS["svm"], Resampler("none", seed=4))
    assert not np.array_equal(other, rows)


@pytest.mark.parametrize(
    ("sampler", "kept"),
    [("none", 360), ("RandomOverSampler", 360), ("RandomUnderSampler", 360), ("SMOTE", 200)],
)
def test_a_network_is_given_all_rows_unless_a_sampler_looks_at_them(lesions, monkeypatch, sampler, kept):
    monkeypatch.setattr(inputs, "MOST_ROWS", 200)
    resampler = resolve_samplers([sampler])[sampler]
    rows, notes = choose_training_rows(np.arange(360), lesions.labels, MODELS["cnn"], resampler)
    assert kept - 7 <= len(rows) <= kept
    assert len(notes) == 1


def test_few_rows_are_all_given_without_a_word(lesions):
    train = np.array([5, 2, 9])
    rows, notes = choose_training_rows(train, lesions.labels[train], MODELS["svm"], Resampler("none"))
    assert rows is train
    assert notes == ()


def test_a_note_tells_of_a_draw_and_budgets_follow_it(lesions, monkeypatch):
    monkeypatch.setattr(inputs, "MOST_ROWS", 150)
    plan = make_plan(lesions, ["none"], ["logistic_regression", "random_forest"], 3, 1, None, 0, None)
    for model in plan.task.models:
        result = fit_cell(Cell("none", model, 0, 0), lesions, plan.task)
        assert result.timing.rows <= 150
        assert "sampled at random from each class before any sampler" in result.notes[0]
        assert len(result.rows) == np.count_nonzero(plan.task.folds[0] == 0)


@pytest.mark.parametrize(("sampler", "mapped"), [("RandomUnderSampler", True), ("SMOTE", False)])
def test_a_sampler_that_looks_at_rows_gets_them_in_memory(lesions, fold_of, sampler, mapped):
    resampler = resolve_samplers([sampler])[sampler]
    rows = Inputs(lesions, MODELS["cnn"], fold_of, large=True).view(np.arange(9), resampler)
    assert isinstance(rows, MappedRows) == mapped


def test_features_are_extracted_once_and_only_of_rows_in_folds(lesions):
    calls = []

    def extract(rows, shape):
        calls.append(len(rows))
        return rows[:, :5].astype(np.float32) + shape[0]

    fold_of = np.zeros(len(lesions), dtype=np.int8)
    fold_of[10:20] = LEFT_OUT
    first = extract_table_features(lesions, extract, fold_of)
    fold_of[:10] = 1
    again = extract_table_features(lesions, extract, fold_of)
    assert again is first
    assert calls == [len(lesions) - 10]
    assert np.isnan(first.values[10:20]).all()
    np.testing.assert_array_equal(first.values[:10], lesions.pixels[:10, :5] + 8.0)
    assert 0 < first.seconds < 1

    fold_of[10:20] = 0
    assert not np.isnan(extract_table_features(lesions, extract, fold_of).values).any()


def test_features_of_many_pixels_are_stored_with_the_code_that_makes_them(lesions, tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path))
    fold_of = np.zeros(len(lesions), dtype=np.int8)

    def found(own_pixels=lesions.pixels, stored_pixels=0):
        monkeypatch.setattr(inputs, "STORED_PIXELS", stored_pixels)
        table = replace(lesions, pixels=own_pixels)
        return extract_table_features(table, extract_features, fold_of)

    fresh = found(stored_pixels=10**9)
    assert not list(tmp_path.iterdir())
    first = found()
    assert len(list(tmp_path.iterdir())) == 2
    again = found()
    for one in (first, again):
        assert one.values.tobytes() == fresh.values.tobytes()
    assert again.seconds == first.seconds
    found(255 - lesions.pixels)
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.setattr(inputs, "code_digest", lambda module: "other code")
    found()
    assert len(list(tmp_path.iterdir())) == 6


def resampler(name):
    return resolve_samplers([name])[name].with_seed(3)


def spec(**fields):
    return ModelSpec(title="", classifier=lambda setting: None, **fields)


@pytest.fixture
def fold():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [90, 25, 10])
    return rng.normal(labels[:, None], 1.0, (125, 5)), labels


def draw(fold, name, **fields):
    return resample_rows(resampler(name), *fold, spec(**fields))


def test_none_changes_nothing(fold):
    training = draw(fold, "none")
    assert training.rows is fold[0]
    assert training.weights is None
    assert training.class_mix(3).tolist() == [90, 25, 10]


@pytest.mark.parametrize("name", ["RandomOverSampler", "RandomUnderSampler"])
def test_weights_count_the_copies(fold, name):
    copied, weighted = draw(fold, name), draw(fold, name, copies_as_weights=True)
    assert copied.n_resampled == weighted.n_resampled == len(copied.rows)
    np.testing.assert_array_equal(copied.class_mix(3), weighted.class_mix(3))
    unpacked = np.repeat(weighted.rows, weighted.weights.astype(int), axis=0)
    np.testing.assert_array_equal(np.sort(unpacked, axis=0), np.sort(copied.rows, axis=0))


@pytest.mark.parametrize(
    "classifier",
    [SVC(C=2.0, gamma=0.3, tol=1e-8), LogisticRegression(tol=1e-10, max_iter=5000)],
    ids=lambda c: type(c).__name__,
)
def test_copies_and_weights_train_the_same_classifier(fold, classifier):
    decisions = []
    for as_weights in (False, True):
        draw(fold, "RandomOverSampler", copies_as_weights=as_weights).train(classifier)
        decisions.append(classifier.decision_function(fold[0]))
    np.testing.assert_allclose(decisions[0], decisions[1], atol=1e-4)


FORESTS = ("random_forest", "random_forest_pixels")


@pytest.mark.parametrize("name", FORESTS)
def test_a_forest_gets_weights_for_copies_and_draws_as_many_rows_as_before(name, lesions):
    rows = lesions.pixels.astype(np.float32)
    training = resample_rows(resampler("RandomOverSampler"), rows, lesions.labels, MODELS[name])
    assert len(training.rows) == len(rows) < training.weights.sum() == training.n_resampled
    forest = MODELS[name].classifier(Setting(lesions.shape, 7, len(rows), 0)).set_params(n_estimators=3)
    training.train(forest)
    assert {int(tree.tree_.weighted_n_node_samples[0]) for tree in forest.estimators_} == {len(rows)}


@pytest.mark.parametrize(
    "name",
    # A forest draws its rows at random, in another order from weights than from copies.
    [name for name, spec in MODELS.items() if spec.copies_as_weights and name not in FORESTS],
)
def test_registered_models_that_say_so_are_the_same_with_copies_and_weights(name, lesions):
    setting = Setting(lesions.shape, 7, len(lesions), 0)
    rows = MODELS[name].features.transformer(setting).fit_transform(lesions.pixels).astype(np.float64)
    decisions = []
    for as_weights in (False, True):
        classifier = MODELS[name].classifier(setting).set_params(tol=1e-8)
        draw((rows, lesions.labels), "RandomOverSampler", copies_as_weights=as_weights).train(classifier)
        decisions.append(classifier.decision_function(rows))
    np.testing.assert_allclose(decisions[0], decisions[1], atol=2e-3)


def test_balanced_weights_even_the_classes_out(fold):
    training = draw(fold, "class_weight")
    np.testing.assert_allclose(training.class_mix(3), 125 / 3)
    assert balanced_weights(fold[1]).mean() == pytest.approx(1)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_weights_to_a_power_and_copies_of_a_share_give_one_mix(fold, share):
    counts = np.bincount(fold[1])
    wanted = counts ** (1 - share) / (counts ** (1 - share)).sum()
    weights = balanced_weights(fold[1], share)
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(np.bincount(fold[1], weights) / len(fold[1]), wanted)
    copied = draw(fold, f"RandomOverSampler@{share:g}" if share < 1 else "RandomOverSampler").class_mix(3)
    np.testing.assert_allclose(copied / copied.sum(), wanted, atol=0.01)
    if share == 1:
        np.testing.assert_allclose(weights, balanced_weights(fold[1]))


@pytest.mark.parametrize("share", ["0.25", "0.5"])
def test_a_network_answers_at_the_mix_of_its_share(share):
    found = MODELS["cnn"].answered_mix(f"balanced_batches@{share}", np.array([81.0, 16.0, 0.0]))
    wanted = np.array([81.0, 16.0]) ** (1 - float(share))
    np.testing.assert_allclose(found, [*wanted / wanted.sum(), 0.0])
    built = MODELS["cnn"].build(Setting((8, 8, 3), 3, 60, 0), f"balanced_batches@{share}")
    assert built.balance == f"balanced_batches@{share}"


def test_made_pixels_are_rounded_for_models_of_bytes():
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (60, 12)).astype(np.uint8), np.repeat([0, 1], [50, 10])
    as_bytes = draw((pixels, labels), "SMOTE", features=FeatureSettings(pixel_type="uint8"))
    as_floats = draw((pixels, labels), "SMOTE", features=FeatureSettings(pixel_type="float32"))
    assert as_bytes.rows.dtype == np.uint8
    np.testing.assert_array_equal(as_bytes.rows, np.rint(as_floats.rows))


def test_old_rows_stay_and_made_ones_stand_for_those_left_out(fold):
    training = draw(fold, "SMOTE")  # 90 of each class: 65 and 80 of them are made.
    fewer = subsample_resampled(training, fold[0], 20, 0)
    np.testing.assert_array_equal(fewer.rows[:125], fold[0].astype(np.float32))
    np.testing.assert_array_equal(fewer.weights[:125], 1.0)
    assert np.bincount(fewer.labels[125:]).tolist() == [0, 20, 20]
    assert np.unique(fewer.weights[125:]).tolist() == [65 / 20, 80 / 20]
    np.testing.assert_allclose(fewer.class_mix(3), training.class_mix(3))
    assert set(map(tuple, fewer.rows)) <= set(map(tuple, training.rows))
    assert len(np.unique(fewer.rows[125:], axis=0)) == 40
    assert fewer.n_resampled == training.n_resampled == 270
    assert fewer.notes == (
        "trained on 40 of the 145 rows made by the sampler, sampled at random from each class and weighted "
        "by the number that they represent",
    )
    np.testing.assert_array_equal(fewer.rows, subsample_resampled(training, fold[0], 20, 0).rows)
    assert not np.array_equal(fewer.rows, subsample_resampled(training, fold[0], 20, 1).rows)


def test_rows_that_are_few_enough_or_not_made_stay_as_they_are(fold):
    training = draw(fold, "SMOTE")
    for most in (None, 80):
        assert subsample_resampled(training, fold[0], most, 0) is training
    for name in ("none", "class_weight", "RandomUnderSampler"):
        other = draw(fold, name)
        assert subsample_resampled(other, fold[0], 1, 0) is other
    shuffled = resample_rows(resampler("SMOTE"), fold[0][::-1], fold[1][::-1], spec())
    assert subsample_resampled(shuffled, fold[0], 20, 0) is shuffled, "its first rows are not the old ones"


def test_made_rows_that_stand_for_others_add_to_a_loss_what_all_of_them_would(fold):
    training = draw(fold, "SMOTE")
    loss = np.tanh(training.rows[:, 0]).sum()
    guesses = [
        fewer.weights @ np.tanh(fewer.rows[:, 0])
        for fewer in (subsample_resampled(training, fold[0], 30, seed) for seed in range(200))
    ]
    error = np.std(guesses) / np.sqrt(len(guesses))
    assert abs(np.mean(guesses) - loss) < 4 * error


def test_few_enough_rows_stay_as_they_are(fold):
    training = draw(fold, "none")
    assert subsample(training, None, 0) is training
    assert subsample(training, 115, 0) is training, "90 and 25 rows have the largest two"


def test_too_many_rows_are_drawn_class_by_class_and_announced(fold):
    training = draw(fold, "SMOTE")
    sampled = subsample(training, 60, 0)
    assert np.bincount(sampled.labels).tolist() == [30, 30, 30]
    assert len(np.unique(sampled.rows, axis=0)) == 90
    assert set(map(tuple, sampled.rows)) <= set(map(tuple, training.rows))
    assert sampled.n_resampled == 270
    (note,) = sampled.notes
    assert "90 of the 270 training rows" in note
    assert not np.array_equal(sampled.rows, subsample(training, 60, 1).rows)
    np.testing.assert_array_equal(sampled.rows, subsample(training, 60, 0).rows)


def test_rows_that_weigh_much_stay_and_classes_keep_their_weight(fold):
    sampled = subsample(draw(fold, "class_weight"), 69, 0)
    assert np.bincount(sampled.labels).tolist() == [40, 25, 10]
    np.testing.assert_allclose(sampled.class_mix(3), 75 / 3)


def test_the_class_of_the_highest_code_may_be_the_largest():
    old = np.zeros((6, 2), np.float32)
    labels = np.array([0] + [1] * 5 + [0] * 5)
    rows = np.vstack([old, np.ones((5, 2), np.float32)])
    fewer = subsample_resampled(TrainingRows(rows, labels, None, 11), old, 2, 0)
    assert fewer.class_mix(2).tolist() == [6.0, 5.0]


@pytest.mark.parametrize("sampler", ["RandomOverSampler", "SMOTE", "RandomUnderSampler"])
def test_resampled_rows_are_equal_in_number_and_have_no_lesions(lesions, sampler):
    rows = np.arange(0, len(lesions), 2)
    table = resample_all(lesions, rows, sampler, 0)
    counts = np.bincount(lesions.labels[rows])
    most = counts.min() if sampler == "RandomUnderSampler" else counts.max()
    assert table.class_counts.tolist() == [most] * 7
    assert table.pixels.dtype == np.uint8
    assert table.lesion_ids is None
    np.testing.assert_array_equal(resample_all(lesions, rows, sampler, 0).pixels, table.pixels)
