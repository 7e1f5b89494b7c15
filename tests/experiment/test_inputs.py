import numpy as np
import pytest

from skinmnist.datasets.mapped import MappedRows
from skinmnist.experiment import fit_cell as fit_cell_module
from skinmnist.experiment import inputs
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.grid import resolve_samplers
from skinmnist.experiment.inputs import Inputs, choose_training_rows, extract_table_features
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.splits import LEFT_OUT
from skinmnist.models.registry import MODELS
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
    monkeypatch.setattr(fit_cell_module, "ANSWERED_ROWS", 50)
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
        assert "drawn at random from each class before any sampler" in result.notes[0]
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
