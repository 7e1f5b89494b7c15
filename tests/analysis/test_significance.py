"""Tests of differences against published figures and scipy.stats, and the table of comparisons."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skinmnist.analysis.significance import (
    COMPARISON_COLUMNS,
    compare_models,
    compare_samplers,
    corrected_t_test,
    correlated_t_test,
    exchanged,
    holm,
    typical_reach,
    verdict,
)


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


SAMPLERS, MODELS = ["none", "SMOTE", "ADASYN"], ["svm", "cnn", "forest"]
GAINS = {"none": 0.0, "SMOTE": 0.1, "ADASYN": -0.1}


def scores(
    samplers=SAMPLERS, models=MODELS, repeats=1, folds=5, metrics=("macro_f1", "accuracy"), noise=0.01
):
    rng = np.random.default_rng(0)
    records = [
        (s, m, r, f, metric, 0.5 + GAINS[s] + 0.02 * f + rng.normal(0, noise))
        for s, m, r, f, metric in product(samplers, models, range(repeats), range(folds), metrics)
    ]
    return pd.DataFrame(records, columns=["sampler", "model", "repeat", "fold", "metric", "value"])


def one(frame, **wanted):
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def values(frame, sampler, model, metric="macro_f1"):
    chosen = frame[(frame["sampler"] == sampler) & (frame["model"] == model) & (frame["metric"] == metric)]
    return chosen.sort_values(["repeat", "fold"])["value"].to_numpy()


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_row_against_its_own_arithmetic(repeats):
    table = scores(repeats=repeats)
    row = one(compare_samplers(table, folds=5), sampler="SMOTE", model="cnn", metric="macro_f1")
    with_it, without = values(table, "SMOTE", "cnn"), values(table, "none", "cnn")
    gaps = with_it - without
    scale = np.sqrt((1 / len(gaps) + 1 / 4) * gaps.var(ddof=1))
    posterior = stats.t(len(gaps) - 1, gaps.mean(), scale)
    assert (row["question"], row["against"], row["folds"]) == ("sampler", "none", 5 * repeats)
    assert row["value"] == pytest.approx(with_it.mean())
    assert row["against_value"] == pytest.approx(without.mean())
    assert row["difference"] == pytest.approx(gaps.mean())
    assert (row["low"], row["high"]) == pytest.approx(posterior.interval(0.95), abs=1e-9)
    assert row["p"] == pytest.approx(2 * min(posterior.cdf(0), posterior.sf(0)), abs=1e-9)
    assert row["better"] == pytest.approx(posterior.sf(0.01), abs=1e-9)
    assert row["worse"] + row["equivalent"] + row["better"] == pytest.approx(1)


def test_every_sampler_meets_the_reference_and_every_model_every_other():
    table = scores()
    samplers, models = compare_samplers(table, folds=5), compare_models(table, folds=5)
    assert list(samplers.columns) == list(models.columns) == list(COMPARISON_COLUMNS)
    assert len(samplers) == 2 * 3 * 2
    assert len(models) == 2 * 3 * 3
    assert set(samplers["sampler"]) == {"SMOTE", "ADASYN"}
    assert set(models["sampler"]) == set(SAMPLERS)
    assert set(zip(models["model"], models["against"], strict=True)) == {
        ("svm", "cnn"),
        ("svm", "forest"),
        ("cnn", "forest"),
    }
    row = one(models, sampler="SMOTE", model="svm", against="forest", metric="accuracy")
    gap = values(table, "SMOTE", "svm", "accuracy") - values(table, "SMOTE", "forest", "accuracy")
    assert row["difference"] == pytest.approx(gap.mean())


@pytest.mark.parametrize(("compare", "tests"), [(compare_samplers, 6), (compare_models, 9)])
def test_a_family_is_a_metric(compare, tests):
    table = compare(scores(), folds=5)
    for _, family in table.groupby("metric"):
        np.testing.assert_array_equal(family["p_holm"], holm(family["p"]))
        assert set(family["tests"]) == {tests}


def test_verdicts_follow_from_the_numbers():
    table = compare_samplers(scores(), folds=5)
    assert set(table.loc[table["sampler"] == "SMOTE", "verdict"]) == {"better"}
    assert set(table.loc[table["sampler"] == "ADASYN", "verdict"]) == {"worse"}
    assert set(compare_samplers(scores(noise=0.3), folds=5)["verdict"]) == {"no difference shown"}
    assert set(compare_models(scores(noise=0), folds=5)["verdict"]) == {"no difference shown"}


@pytest.mark.parametrize(
    ("p", "difference", "folds", "lower", "words"),
    [
        (0.01, 0.1, 5, False, "better"),
        (0.01, -0.1, 5, False, "worse"),
        (0.01, 0.1, 5, True, "worse"),
        (0.01, -0.1, 5, True, "better"),
        (0.05, 0.1, 5, False, "no difference shown"),
        (0.01, 0.1, 2, False, "too few folds"),
        (np.nan, 0.1, 5, False, "too few folds"),
    ],
)
def test_the_words(p, difference, folds, lower, words):
    assert verdict(p, difference, folds, lower) == words


def test_less_is_better_for_losses():
    table = scores(metrics=("log_loss",))
    row = one(compare_samplers(table, 5, metrics=["log_loss"]), sampler="SMOTE", model="cnn")
    assert row["difference"] > 0
    assert row["verdict"] == "worse"
    assert row["worse"] > 0.95


def test_few_folds_get_no_verdict_and_stay_out_of_the_family():
    table = scores()
    short = table[~((table["model"] == "cnn") & (table["sampler"] == "SMOTE") & (table["fold"] > 1))]
    result = compare_samplers(short, folds=5)
    row = one(result, sampler="SMOTE", model="cnn", metric="macro_f1")
    assert (row["folds"], row["verdict"]) == (2, "too few folds")
    assert np.isnan([row["p"], row["p_holm"]]).all()
    assert set(result["tests"]) == {5}


def test_only_folds_that_both_sides_have_finished_are_paired():
    table = scores()
    lost = (table["sampler"] == "none") & (table["model"] == "cnn") & (table["fold"] == 3)
    row = one(compare_samplers(table[~lost], folds=5), sampler="SMOTE", model="cnn", metric="macro_f1")
    kept = [0, 1, 2, 4]
    gaps = values(table, "SMOTE", "cnn")[kept] - values(table, "none", "cnn")[kept]
    assert row["folds"] == 4
    assert row["difference"] == pytest.approx(gaps.mean())
    assert row["against_value"] == pytest.approx(values(table, "none", "cnn")[kept].mean())


def test_pairs_without_a_reference_are_left_out():
    table = scores()
    table = table[(table["model"] != "cnn") | (table["sampler"] != "none")]
    assert set(compare_samplers(table, folds=5)["model"]) == {"svm", "forest"}
    assert set(compare_samplers(table, folds=5, reference="SMOTE")["model"]) == set(MODELS)


def test_the_order_of_the_rows_does_not_matter():
    table = scores()
    shuffled = table.sample(frac=1, random_state=0)
    keys = ["sampler", "model", "metric"]
    one_way, other_way = (compare_samplers(t, folds=5).sort_values(keys) for t in (table, shuffled))
    pd.testing.assert_frame_equal(one_way.reset_index(drop=True), other_way.reset_index(drop=True))


def test_nothing_to_compare():
    for table in (scores(samplers=["none"]), scores().iloc[:0], scores().query("metric == 'gmean'")):
        result = compare_samplers(table, folds=5)
        assert list(result.columns) == list(COMPARISON_COLUMNS)
        assert result.empty
    assert compare_models(scores(models=["svm"]), folds=5).empty


def test_the_typical_reach_is_that_of_tested_intervals():
    found = compare_samplers(scores(), folds=5)
    half = (found["high"] - found["low"]) / 2
    assert typical_reach(found) == pytest.approx(np.median(half))
    few = found.assign(verdict=["too few folds"] * (len(found) - 1) + ["better"])
    assert typical_reach(few) == pytest.approx(half.iloc[-1])
    assert np.isnan(typical_reach(found.assign(verdict="too few folds")))


def test_exchanged_comparisons_are_those_of_the_models_in_the_other_order():
    table = scores(samplers=["none"], models=["svm", "cnn"])
    other = table.iloc[::-1].reset_index(drop=True)
    turned, wanted = exchanged(compare_models(table, folds=5)), compare_models(other, folds=5)
    pd.testing.assert_frame_equal(turned, wanted, check_exact=False, atol=1e-12)
    pd.testing.assert_frame_equal(exchanged(turned), compare_models(table, folds=5))
