"""Tests of differences against published figures and a few lines of scipy.stats."""

import numpy as np
import pytest
from scipy import stats

from skinmnist.analysis.significance import corrected_t_test, correlated_t_test, holm


def differences(count=25, seed=0):
    return np.random.default_rng(seed).normal(0.01, 0.02, count)


@pytest.fixture(scope="module")
def moons():
    """Differences of the worked example "Statistical comparison of models" of scikit-learn's guide."""
    from sklearn.datasets import make_moons
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    rows, labels = make_moons(noise=0.352, random_state=1, n_samples=100)
    cv = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel, random_state=0), rows, labels, cv=cv, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    )
    return rbf - linear


def test_the_published_example_of_the_corrected_test(moons):
    """The guide prints t = 0.750 and a one-sided p of 0.227."""
    test = corrected_t_test(moons, 10 / 90)
    assert test.mean == pytest.approx(0.01)
    assert test.p / 2 == pytest.approx(0.227, abs=5e-4)
    assert stats.t.isf(test.p / 2, 99) == pytest.approx(0.750, abs=5e-4)


def test_the_published_example_of_the_bayesian_test(moons):
    """The guide prints 77.3 % for a better kernel, and 43.2 % for no more than .01 between them."""
    assert correlated_t_test(moons, folds=10, rope=0.0).better == pytest.approx(0.773, abs=5e-4)
    assert correlated_t_test(moons, folds=10, rope=0.01).equivalent == pytest.approx(0.432, abs=5e-4)


@pytest.mark.parametrize(("count", "folds"), [(2, 2), (5, 5), (3, 10), (50, 5)])
def test_both_tests_against_scipy(count, folds):
    values = differences(count, seed=count)
    scale = np.sqrt((1 / count + 1 / (folds - 1)) * values.var(ddof=1))
    posterior = stats.t(count - 1, loc=values.mean(), scale=scale)
    test = corrected_t_test(values, 1 / (folds - 1))
    assert test.mean == pytest.approx(values.mean(), abs=1e-15)
    assert (test.low, test.high) == pytest.approx(posterior.interval(0.95), abs=1e-9)
    assert test.p == pytest.approx(2 * min(posterior.cdf(0), posterior.sf(0)), abs=1e-9)
    expected = posterior.cdf(-0.01), posterior.cdf(0.01) - posterior.cdf(-0.01), posterior.sf(0.01)
    assert correlated_t_test(values, folds) == pytest.approx(expected, abs=1e-9)


def test_without_overlap_it_is_the_paired_t_test():
    values = differences()
    assert corrected_t_test(values, 0).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=1e-12)


def test_overlap_makes_less_sure():
    values = differences()
    tests = [corrected_t_test(values, ratio) for ratio in (0, 0.1, 0.25, 1)]
    assert np.all(np.diff([test.p for test in tests]) > 0)
    assert np.all(np.diff([test.high - test.low for test in tests]) > 0)


def test_the_interval_holds_zero_where_p_is_large():
    for seed in range(200):
        test = corrected_t_test(differences(5, seed), 0.25)
        assert test.low < test.mean < test.high
        assert (test.low <= 0 <= test.high) == (test.p >= 0.05)


def test_a_wider_confidence_is_a_wider_interval():
    values = differences()
    narrow, wide = corrected_t_test(values, 0.25, 0.5), corrected_t_test(values, 0.25, 0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_turning_the_differences_round_turns_the_findings_round():
    values = differences(5)
    one, other = corrected_t_test(values, 0.25), corrected_t_test(-values, 0.25)
    assert (one.low, one.high, one.p) == pytest.approx((-other.high, -other.low, other.p))
    assert correlated_t_test(values, 5) == pytest.approx(correlated_t_test(-values, 5)[::-1])


def test_the_order_of_the_folds_does_not_matter():
    values = differences(10)
    shuffled = np.random.default_rng(1).permutation(values)
    assert corrected_t_test(values, 0.25) == pytest.approx(corrected_t_test(shuffled, 0.25), abs=1e-12)
    assert correlated_t_test(values, 5) == pytest.approx(correlated_t_test(shuffled, 5), abs=1e-12)


@pytest.mark.parametrize("values", [[0.0] * 5, [1e-17, -1e-17, 0.0]])
def test_equal_scores_are_equal(values):
    assert corrected_t_test(values, 0.25) == (0, 0, 0, 1)
    assert correlated_t_test(values, 5) == (0, 1, 0)


@pytest.mark.parametrize("values", [[0.1], [0.0], [0.25] * 4, [0.3, 0.3 + 1e-16, 0.3]])
def test_an_unknown_spread_is_no_certainty(values):
    test = corrected_t_test(values, 0.25)
    assert test.mean == pytest.approx(values[0])
    assert np.isnan([test.low, test.high, test.p]).all()
    assert np.isnan(correlated_t_test(values, 5)).all()


def test_false_alarms_are_about_as_rare_as_promised():
    """Differences that go together as those of overlapping trainings do, and of which the true mean is 0."""
    rng = np.random.default_rng(0)
    folds, tables = 5, 2000
    shared, own = rng.normal(size=(tables, 1)), rng.normal(size=(tables, folds))
    values = np.sqrt(1 / folds) * shared + np.sqrt(1 - 1 / folds) * own
    corrected = np.mean([corrected_t_test(row, 1 / (folds - 1)).p < 0.05 for row in values])
    plain = np.mean([corrected_t_test(row, 0).p < 0.05 for row in values])
    assert 0.035 < corrected < 0.065
    assert plain > 0.09


def test_holm_on_a_worked_example():
    """By hand: sorted .01 .02 .03 .04 .05 times 5 4 3 2 1, never falling."""
    np.testing.assert_allclose(holm([0.04, 0.01, 0.05, 0.03, 0.02]), [0.09, 0.05, 0.09, 0.09, 0.08])


def slow_holm(p_values):
    """Step down by Holm's own words: the smallest level at which a hypothesis is rejected."""
    made = sorted((p, i) for i, p in enumerate(p_values) if not np.isnan(p))
    corrected, highest = [np.nan] * len(p_values), 0.0
    for step, (p, i) in enumerate(made):
        highest = max(highest, min(1.0, p * (len(made) - step)))
        corrected[i] = highest
    return corrected


@pytest.mark.parametrize("seed", range(5))
def test_holm_properties(seed):
    p = np.random.default_rng(seed).beta(0.4, 1, 12)
    p[seed] = np.nan
    corrected = holm(p)
    np.testing.assert_allclose(corrected, slow_holm(p), atol=1e-12)
    made = ~np.isnan(p)
    assert np.isnan(corrected[seed])
    assert (corrected[made] >= p[made]).all()
    assert (corrected[made] <= np.minimum(1, p[made] * made.sum())).all()
    assert np.all(np.diff(corrected[made][np.argsort(p[made])]) >= 0)
    np.testing.assert_array_equal(holm(p[::-1]), corrected[::-1])


def test_holm_of_nothing_and_of_one():
    assert holm([]).shape == (0,)
    np.testing.assert_array_equal(holm([0.03]), [0.03])
    assert np.isnan(holm([np.nan, np.nan])).all()
