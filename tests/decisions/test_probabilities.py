"""What follows from probabilities, beside sums written out and simulated truths."""

import numpy as np
import pytest

from skinmnist.decisions.probabilities import (
    change_prior,
    cheapest,
    check_costs,
    conformal_sets,
    conformal_thresholds,
    flatten_prior,
)


def test_probabilities_without_the_prior_by_hand():
    found = change_prior(np.array([[0.8, 0.15, 0.05], [0.9, 0.1, 0.0]]), np.array([80.0, 10.0, 10.0]))
    np.testing.assert_allclose(found, [[1 / 3, 1.5 / 3, 0.5 / 3], [9 / 17, 8 / 17, 0]], rtol=1e-11)


def test_priors_are_moved_as_if_the_model_had_been_trained_there():
    """Bayes' rule with known likelihoods: answers at one mix become those at another, and back."""
    rng = np.random.default_rng(0)
    likelihoods = rng.gamma(1.0, size=(50, 4))
    first, second = rng.dirichlet(np.ones(4), 2)
    at_first, at_second = (
        likelihoods * mix / (likelihoods * mix).sum(axis=1, keepdims=True) for mix in (first, second)
    )
    np.testing.assert_allclose(change_prior(at_first, first, second), at_second, rtol=1e-11)
    np.testing.assert_allclose(change_prior(at_first, 7 * first, 3 * second), at_second, rtol=1e-11)
    np.testing.assert_allclose(change_prior(at_second, second, second), at_second, rtol=1e-11)


def test_a_class_that_training_has_not_seen():
    found = change_prior(np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), np.array([10.0, 5.0, 0.0]))
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 0], [0, 0, 1]], rtol=1e-11)


def test_rounding_decides_no_tie():
    """A model that answers with the frequencies has nothing left after them but rounding."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        counts = rng.integers(1, 1000, 7).astype(float)
        answer = np.tile(counts / counts.sum(), (2, 1)) * [[1.0], [1 / 3]]
        for trained in (counts, counts / counts.sum(), counts / 7):
            found = change_prior(answer, trained)
            np.testing.assert_allclose(found, 1 / 7, rtol=1e-11)
            assert found.argmax(axis=1).tolist() == [0, 0]


def test_a_flattened_prior():
    prior = np.array([0.8, 0.2, 0.0])
    np.testing.assert_allclose(flatten_prior(prior, 0.0), prior)
    np.testing.assert_allclose(flatten_prior(prior, 1.0), [1, 1, 0])
    np.testing.assert_allclose(flatten_prior(prior, 0.5), [0.8**0.5, 0.2**0.5, 0])


def test_costs_by_brute_force():
    rng = np.random.default_rng(0)
    answers, costs = rng.dirichlet(np.ones(4), 50), rng.uniform(0, 9, (4, 4))
    for row, decision in zip(answers, cheapest(answers, costs), strict=True):
        expected = [sum(row[true] * costs[true][named] for true in range(4)) for named in range(4)]
        assert decision == expected.index(min(expected))


def test_the_cost_of_every_mistake_alike_is_the_largest_probability():
    answers = np.random.default_rng(1).dirichlet(np.ones(5), 200)
    assert (cheapest(answers, check_costs(None, 5)) == answers.argmax(axis=1)).all()


@pytest.mark.parametrize("costs", [[[0, 1]], [[0, np.nan], [1, 0]], np.zeros((3, 3)), [1, 2]])
def test_costs_that_are_none(costs):
    with pytest.raises(ValueError, match="expected a cost matrix of 2 x 2 finite numbers"):
        check_costs(costs, 2)


def test_thresholds_by_counting():
    """At most floor(alpha (n + 1)) - 1 of the rows of a class lie below its threshold, and as many do."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 300)
    answers = rng.dirichlet(np.ones(3), 300)
    for alpha in (0.05, 0.1, 0.3):
        for code, threshold in enumerate(conformal_thresholds(labels, answers, alpha)):
            of_class = answers[labels == code, code]
            assert (of_class < threshold).sum() == int(alpha * (len(of_class) + 1)) - 1
        alike = conformal_thresholds(labels, answers, alpha, classwise=False)
        assert len(set(alike)) == 1
        assert (answers[np.arange(300), labels] < alike[0]).sum() == int(alpha * 301) - 1


def test_coverage_of_new_rows_holds_in_every_class():
    """Over many draws of the calibration rows, a rare class is covered as promised, and hardly more."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(300):
        labels = np.repeat([0, 1], [150, 29])
        scores = rng.normal(size=len(labels)) + 1.5 * labels
        answers = np.column_stack([1 / (1 + np.exp(scores)), 1 / (1 + np.exp(-scores))])
        half = rng.permutation(len(labels)) % 2 == 0
        sets = answers[~half] >= conformal_thresholds(labels[half], answers[half], alpha=0.2)
        covered.append([sets[labels[~half] == code, code].mean() for code in (0, 1)])
    frequent, rare = np.mean(covered, axis=0)
    assert 0.79 < frequent < 0.83
    assert 0.79 < rare < 0.88


def test_a_class_with_too_few_rows_is_in_every_set():
    answers = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    thresholds = conformal_thresholds(np.array([0, 0, 1]), answers, alpha=0.1)
    assert thresholds.tolist() == [0, 0]
    assert conformal_sets(answers, thresholds).all()


def test_the_likeliest_class_is_in_every_set():
    sets = conformal_sets(np.array([[0.5, 0.3, 0.2]]), np.array([0.9, 0.9, 0.9]))
    assert sets.tolist() == [[True, False, False]]
