"""To register a model is to have it tested."""

from collections import defaultdict
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone

from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import Task, fit_cell
from skinmnist.experiment.grid import DEFAULT_SAMPLERS, plan_cells, resolve_samplers
from skinmnist.experiment.splits import assign_folds
from skinmnist.models.cnn.heads import Trunk
from skinmnist.models.registry import (
    DEFAULT_MODELS,
    MODELS,
    make_cnn,
    make_cnn_early_stopping,
    make_cnn_thorough,
    make_cnn_tiny,
    steps_for,
)
from skinmnist.models.spec import Setting
from skinmnist.resampling.strategies import STRATEGIES


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


@pytest.fixture(scope="module")
def folds(lesions):
    return assign_folds(lesions, 5, 1, "lesion", 0)


@pytest.fixture(scope="module")
def fitted(lesions, folds):
    """Return a function that fits a model with a sampler on the first fold, each pair once."""
    samplers = resolve_samplers(list(dict.fromkeys([*DEFAULT_SAMPLERS, "class_weight", *STRATEGIES])))

    trunks = defaultdict(Trunk)

    @cache
    def fit(sampler, name):
        task = Task(folds, True, {name: MODELS[name]}, samplers, seed=0)
        return fit_cell(Cell(sampler, name, 0, 0), lesions, task, trunks[name])

    return fit


@pytest.mark.parametrize("name", [*QUICK, "cnn", "cnn_early_stopping"])
def test_every_model_goes_through_a_cell(name, lesions, folds, fitted):
    for sampler in ("none",) if MODELS[name].balances else ("none", "SMOTE"):
        result = fitted(sampler, name)
        np.testing.assert_array_equal(result.rows, np.flatnonzero(folds[0] == 0))
        np.testing.assert_allclose(result.probabilities.sum(axis=1), 1)
        assert result.probabilities.shape == (len(result.rows), 7)
        np.testing.assert_array_equal(result.predicted, result.probabilities.argmax(axis=1))
        counts = np.bincount(lesions.labels[folds[0] != 0], minlength=7)
        np.testing.assert_allclose(result.natural_mix, counts / counts.sum())
        if sampler == "SMOTE":
            np.testing.assert_allclose(result.training_mix, 1 / 7)
            assert len(set(result.counts_after)) == 1
            assert result.timing.rows_resampled > result.timing.rows


@pytest.mark.parametrize("name", [name for name in QUICK if MODELS[name].weights])
def test_weights_are_taken(name, lesions, fitted):
    plain, weighted = fitted("none", name), fitted("class_weight", name)
    assert not np.array_equal(plain.probabilities, weighted.probabilities)
    np.testing.assert_allclose(weighted.training_mix, 1 / 7)
    np.testing.assert_allclose(plain.training_mix, plain.natural_mix)
    rare = np.flatnonzero(lesions.class_counts < 40)
    assert weighted.probabilities[:, rare].sum() > plain.probabilities[:, rare].sum()


def smoothed(counts):
    """The sum of the target distributions of all rows."""
    found = np.zeros(len(counts))
    for code, count in enumerate(counts):
        spread = 0.1 * np.sin(np.pi / 2 * (count - counts.min()) / (counts.max() - counts.min()))
        target = np.full(len(counts), spread / (len(counts) - 1))
        target[code] = 1 - spread
        found += count * target
    return found


#: Class counts -> the class mix to which the probabilities of networks refer.
MIXES = {
    "balanced_batches": lambda n: n**0,
    "sqrt_batches": lambda n: n**0.5,
    "logit_adjusted_loss": lambda n: n**0,
    "class_balanced_loss": lambda n: n / (1 - 0.999**n),
    "ldam_drw": lambda n: n / (1 - 0.9999**n),
    "label_aware_smoothing": smoothed,
    "crt": lambda n: n**0,
    "smote_head": lambda n: n**0,
}


@pytest.mark.parametrize("strategy", MODELS["cnn_tiny"].strategies)
def test_strategies_of_networks_change_the_training_and_help_the_rare(strategy, lesions, fitted):
    plain, changed = fitted("none", "cnn_tiny"), fitted(strategy, "cnn_tiny")
    assert not np.array_equal(plain.probabilities, changed.probabilities)
    counts = MIXES.get(strategy, lambda n: n)(plain.counts_before)
    # Dividing by norms hardly changes the mix where the norms do not follow the class frequencies.
    exact = {"rtol": 0.3} if strategy == "tau_norm" else {}
    np.testing.assert_allclose(changed.training_mix, counts / counts.sum(), **exact)
    np.testing.assert_allclose(changed.natural_mix, plain.training_mix)
    rare = np.flatnonzero(lesions.class_counts < 40)
    if np.array_equal(changed.training_mix, changed.natural_mix) or strategy in ("ldam_drw", "tau_norm"):
        return  # They do not favour what is rare, or only late in training.
    assert changed.probabilities[:, rare].sum() > plain.probabilities[:, rare].sum()


def test_every_strategy_belongs_to_some_model():
    taken = {name for name in STRATEGIES if any(spec.takes(name) for spec in MODELS.values())}
    assert taken == {name for name, known in STRATEGIES.items() if not known.same_as}


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_table_says_what_a_strategy_needs(name):
    able = {model for model, spec in MODELS.items() if spec.takes(STRATEGIES[name].same_as or name)}
    networks = {model for model in MODELS if model.startswith("cnn")}
    needs = {"": set(MODELS), "networks": networks, "weights": {m for m, s in MODELS.items() if s.weights}}
    balancing = {model for model, spec in MODELS.items() if spec.balances}
    unable = {"ldam_drw": {"cnn_early_stopping"}, "tuned_plain": balancing}.get(name, set())
    assert able == needs[STRATEGIES[name].needs] - unable


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].balances])
def test_models_that_balance_answer_at_equal_classes_and_take_no_sampler(name, fitted):
    result = fitted("none", name)
    np.testing.assert_allclose(result.training_mix, 1 / 7)
    np.testing.assert_array_equal(result.counts_before, result.counts_after)
    cells, notes = plan_cells(
        resolve_samplers(["none", "SMOTE", "class_weight"]), {name: MODELS[name]}, repeats=1, folds=1
    )
    assert [cell.sampler for cell in cells] == ["none"]
    assert notes == [f"class_weight, SMOTE with {name} are not planned: {name} balances the classes itself"]


def test_budgets_grow_as_tables_do():
    small, full, large = (steps_for(rows, 700) for rows in (1000, 8012, 100_000))
    assert small < full == 700 < large
    assert small / 1000 == pytest.approx(large / 100_000, rel=0.01)
    assert steps_for(1, 700) >= 20


def test_small_pictures_get_fewer_steps():
    budgets = {}
    for side in (8, 28):
        network = make_cnn(Setting(shape=(side, side, 3), n_classes=7, train_rows=8012, seed=0))
        budgets[side] = network.steps, network.batch_size
    assert budgets[28] == (860, 128)
    assert budgets[8] == (300, 128)
    assert np.prod(budgets[8]) < np.prod(budgets[28])


@pytest.mark.parametrize("make", [make_cnn, make_cnn_tiny, make_cnn_thorough, make_cnn_early_stopping])
def test_makers_follow_the_setting(make):
    model = make(Setting(shape=(8, 8, 3), n_classes=3, train_rows=1000, seed=9))
    assert model.shape == (8, 8, 3)
    assert model.random_state == 9
    assert model.steps > 0


def test_classes_that_training_lacks_have_no_share():
    found = MODELS["cnn"].answered_mix("balanced_batches", np.array([30.0, 0.0, 10.0]))
    assert found.tolist() == [0.5, 0.0, 0.5]
