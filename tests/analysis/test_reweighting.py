"""Scores under weights equal the scores of tables that hold rows as often as the weights say."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from skinmnist.analysis.reweighting import REWEIGHTED_METRICS, score_weighted, sum_cell
from skinmnist.experiment.metrics import score

NAMES = ("a", "b", "c", "d")


def cell(n=150, k=4, n_units=60, digits=1, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(k, n, p=[0.5, 0.3, 0.15, 0.05])
    probabilities = rng.dirichlet(np.ones(k), n) + 0.3 * np.eye(k)[labels]
    probabilities = (probabilities / probabilities.sum(axis=1, keepdims=True)).round(digits)
    return labels, rng.integers(0, k, n), probabilities, rng.integers(0, n_units, n)


def repeated(rows, weights):
    labels, predicted, probabilities, units = rows
    times = np.repeat(np.arange(len(labels)), weights[units].astype(int))
    # The log loss of rounded probabilities is no business of these tests, and scikit-learn warns of it.
    shares = probabilities[times] / probabilities[times].sum(axis=1, keepdims=True)
    return labels[times], predicted[times], probabilities[times], shares


def draws(n_units, count=15, seed=1):
    return np.random.default_rng(seed).poisson(0.8, (n_units, count)).astype(np.float32)


@pytest.mark.parametrize("digits", [1, 2, 15], ids=["many ties", "some ties", "no ties"])
@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")
def test_weights_are_copies(digits):
    rows = cell(digits=digits)
    weights = draws(60)
    found = score_weighted(sum_cell(*rows, n_units=60), weights, recall_of=2)
    assert found.shape == (5, 15)
    for place in range(weights.shape[1]):
        labels, predicted, probabilities, _ = repeated(rows, weights[:, place])
        expected = score(labels, predicted, probabilities, NAMES)
        wanted = [expected.get(name, np.nan) for name in (*REWEIGHTED_METRICS, "recall_c")]
        np.testing.assert_allclose(found[:, place], wanted, rtol=0, atol=1e-12)


def test_the_area_is_that_of_sample_weights():
    labels, predicted, probabilities, units = cell(digits=1)
    weights = draws(60) + 1
    found = score_weighted(sum_cell(labels, predicted, probabilities, units, 60), weights)[3]
    for place in range(weights.shape[1]):
        areas = [
            roc_auc_score(labels == code, probabilities[:, code], sample_weight=weights[units, place])
            for code in range(4)
        ]
        assert found[place] == pytest.approx(np.mean(areas), abs=1e-12)


def test_all_weights_doubled_change_nothing():
    sums, weights = sum_cell(*cell(), n_units=60), draws(60)
    np.testing.assert_allclose(score_weighted(sums, 2 * weights), score_weighted(sums, weights), atol=1e-12)


def test_the_order_of_the_rows_does_not_matter():
    rows, weights = cell(), draws(60)
    order = np.random.default_rng(2).permutation(len(rows[0]))
    shuffled = [column[order] for column in rows]
    one, other = (score_weighted(sum_cell(*r, n_units=60), weights) for r in (rows, shuffled))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_what_a_draw_cannot_tell_is_unknown():
    labels, probabilities = np.array([0, 0, 1, 1]), np.full((4, 3), 1 / 3)
    sums = sum_cell(labels, np.array([0, 1, 1, 1]), probabilities, np.arange(4), 4)
    weights = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], np.float32).T
    f1, balanced, accuracy, auc, recall = score_weighted(sums, weights, recall_of=1)
    np.testing.assert_allclose(f1[:2], [(2 / 3 + 0.8) / 2, (2 / 3 + 0) / 2])
    np.testing.assert_allclose(balanced, [0.75, 0.5, np.nan])
    np.testing.assert_allclose(accuracy, [0.75, 0.5, np.nan])
    np.testing.assert_allclose(auc, [0.5, np.nan, np.nan])
    np.testing.assert_allclose(recall, [1, np.nan, np.nan])


def test_a_single_class_has_no_ranking():
    sums = sum_cell(np.zeros(3, int), np.zeros(3, int), np.full((3, 2), 0.5), np.arange(3), 3)
    assert np.isnan(score_weighted(sums, np.ones((3, 2), np.float32))[3]).all()


def test_many_rows_are_counted_exactly():
    """Sums of ranks beyond what float32 can hold."""
    rng = np.random.default_rng(0)
    n = 30_000
    labels = rng.integers(0, 2, n)
    probabilities = rng.random((n, 2))
    weights = rng.integers(0, 4, (n, 2)).astype(np.float32)
    found = score_weighted(sum_cell(labels, labels, probabilities, np.arange(n), n), weights)[3]
    areas = [
        roc_auc_score(labels == code, probabilities[:, code], sample_weight=weights[:, 1]) for code in (0, 1)
    ]
    assert found[1] == pytest.approx(np.mean(areas), abs=1e-12)
