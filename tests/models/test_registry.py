"""To register a model is to have it tested."""

import numpy as np
import pytest
from sklearn.base import clone

from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import Task, fit_cell
from skinmnist.experiment.grid import DEFAULT_SAMPLERS, resolve_samplers
from skinmnist.experiment.splits import assign_folds
from skinmnist.models.registry import DEFAULT_MODELS, MODELS
from skinmnist.models.spec import Setting
from skinmnist.resampling.registry import STRATEGIES


def test_defaults_are_registered():
    assert set(DEFAULT_MODELS) <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_cloned_and_takes_the_seed(name):
    spec = MODELS[name]
    model = spec.classifier(Setting((8, 8, 3), 7, 200, 11))
    assert clone(model).get_params() == model.get_params()
    seeds = [
        value for key, value in model.get_params().items() if key == "random_state" and value is not None
    ]
    assert all(seed == 11 for seed in seeds)


#: Networks share their code; the cheap one stands for those that take long.
QUICK = [name for name in MODELS if name not in ("cnn", "cnn_thorough", "cnn_early_stopping")]


@pytest.mark.parametrize("name", [*QUICK, "cnn", "cnn_early_stopping"])
def test_every_model_goes_through_a_cell(name, lesions):
    samplers = resolve_samplers([*DEFAULT_SAMPLERS, "class_weight"])
    folds = assign_folds(lesions, 5, 1, "lesion", 0)
    task = Task(folds, True, {name: MODELS[name]}, samplers, seed=0)
    for sampler in ("none", "SMOTE"):
        result = fit_cell(Cell(sampler, name, 0, 0), lesions, task)
        np.testing.assert_array_equal(result.rows, np.flatnonzero(folds[0] == 0))
        np.testing.assert_allclose(result.probabilities.sum(axis=1), 1)
        assert result.probabilities.shape == (len(result.rows), 7)
        assert set(result.predicted) <= set(range(7))
        if sampler == "SMOTE":
            assert len(set(result.counts_after)) == 1
            assert result.timing.rows_resampled > result.timing.rows


@pytest.mark.parametrize("name", [name for name in QUICK if MODELS[name].weights])
def test_weights_are_taken(name, lesions):
    folds = assign_folds(lesions, 5, 1, "lesion", 0)
    task = Task(folds, True, {name: MODELS[name]}, resolve_samplers(["none", "class_weight"]), seed=0)
    plain, weighted = (fit_cell(Cell(s, name, 0, 0), lesions, task) for s in ("none", "class_weight"))
    assert not np.array_equal(plain.probabilities, weighted.probabilities)
    rare = np.flatnonzero(lesions.class_counts < 40)
    assert weighted.probabilities[:, rare].sum() > plain.probabilities[:, rare].sum()


@pytest.mark.parametrize("name", [name for name in QUICK if MODELS[name].most_probable])
def test_decisions_are_the_most_probable_class_where_the_entry_says_so(name, lesions):
    model = MODELS[name].classifier(Setting(lesions.shape, 7, 100, 0))
    rows = lesions.pixels.astype(MODELS[name].features.pixel_type)
    model.fit(rows, lesions.labels)
    np.testing.assert_array_equal(model.predict(rows), model.predict_proba(rows).argmax(axis=1))


@pytest.mark.parametrize("strategy", MODELS["cnn_tiny"].strategies)
def test_strategies_of_networks_change_the_training_and_help_the_rare(strategy, lesions):
    folds = assign_folds(lesions, 5, 1, "lesion", 0)
    task = Task(folds, True, {"cnn_tiny": MODELS["cnn_tiny"]}, resolve_samplers(["none", strategy]), seed=0)
    plain, changed = (fit_cell(Cell(s, "cnn_tiny", 0, 0), lesions, task) for s in ("none", strategy))
    assert not np.array_equal(plain.probabilities, changed.probabilities)
    if strategy == "focal_loss":
        return  # It looks at what is hard, not at what is rare.
    rare = np.flatnonzero(lesions.class_counts < 40)
    assert changed.probabilities[:, rare].sum() > plain.probabilities[:, rare].sum()


def test_every_strategy_belongs_to_some_model():
    taken = {name for name in STRATEGIES if any(spec.takes(name) for spec in MODELS.values())}
    assert taken == set(STRATEGIES)
