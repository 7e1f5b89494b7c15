"""Which rows a step sees, and at which learning rate."""

import numpy as np
import pytest

from skinmnist.errors import InputError
from skinmnist.models.cnn.schedule import draw_batches, one_cycle

CODES = np.repeat([0, 1, 2], [810, 90, 10])


def test_batches_are_shuffled_passes_without_repeats():
    order = draw_batches(np.zeros(10, int), 7, 4, None, np.random.default_rng(0)).ravel()
    assert order.shape == (28,)
    assert order.dtype == np.int32
    for start in (0, 10):
        assert sorted(order[start : start + 10]) == list(range(10))
    assert len(set(order[20:])) == 8
    assert list(order[:10]) != list(range(10))


@pytest.mark.parametrize(
    ("balance", "shares"),
    [(None, [81, 9, 1]), ("sqrt_batches", [9, 3, 1]), ("balanced_batches", [1, 1, 1])],
)
def test_balance_sets_the_shares_of_the_classes(balance, shares):
    order = draw_batches(CODES, 200, 64, balance, np.random.default_rng(0))
    assert order.shape == (200, 64)
    sample_indices = np.bincount(CODES[order.ravel()]) / order.size
    np.testing.assert_allclose(sample_indices, np.array(shares) / sum(shares), atol=0.015)


def test_balanced_batches_use_the_rows_of_a_class_equally_often():
    order = draw_batches(CODES, 100, 60, "balanced_batches", np.random.default_rng(0)).ravel()
    for code in range(3):
        times = np.bincount(order, minlength=len(CODES))[code == CODES]
        assert times.max() - times.min() <= 1


def test_an_unknown_balance_is_refused():
    with pytest.raises(InputError, match="'sqrt_batches' or 'balanced_batches'"):
        draw_batches(CODES, 1, 1, "none", np.random.default_rng(0))


def test_learning_rate_rises_and_falls_once():
    rates = one_cycle(100)
    peak = rates.argmax()
    assert rates.shape == (100,)
    assert 15 <= peak <= 25
    assert 0.9 < rates[peak] <= 1
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) <= 0).all()
    assert 0 < rates[-1] < 0.002
