"""Tests of differences against published figures and scipy.stats, and the table of comparisons."""

import os
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.significance import (
    COMPARISON_COLUMNS,
    ROPE,
    compare_control,
    compare_models,
    compare_pair,
    compare_samplers,
    corrected_t_test,
    correlated_t_test,
    detectable_difference,
    each_part_once,
    exchanged,
    holm,
    reason_undecided,
    verdict,
)
from skinmnist.experiment.run_folder.record import read_run


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
    assert (row["single_low"], row["single_high"]) == pytest.approx(posterior.interval(0.95), abs=1e-9)
    assert (row["low"], row["high"]) == pytest.approx(posterior.interval(1 - 0.05 / 6), abs=1e-9)
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
    assert table["family"].nunique() == 2
    for _, family in table.groupby("family"):
        assert len(set(family["metric"])) == 1
        np.testing.assert_array_equal(family["p_holm"], holm(family["p"]))
        np.testing.assert_allclose(family["p_simultaneous"], np.minimum(1, tests * family["p"]))
        assert set(family["tests"]) == {tests} == {len(family)}


def test_a_family_is_a_rule():
    table = scores()
    table = pd.concat([table.assign(rule="as_trained"), table.assign(rule="tuned")], ignore_index=True)
    found = compare_samplers(table, 5, measures=[("as_trained", "macro_f1"), ("tuned", "macro_f1")])
    assert found.groupby(["rule", "family"]).size().tolist() == [6, 6]
    assert set(found["tests"]) == {6}
    pd.testing.assert_frame_equal(
        compare_samplers(table, 5), compare_samplers(table[table["rule"] == "as_trained"], 5)
    )


def test_controls_are_families_of_their_own():
    table = scores(samplers=["none", "SMOTE", "ADASYN"])
    control = table[table["sampler"] == "none"].assign(sampler="control")
    found = compare_control(pd.concat([table, control], ignore_index=True), 5, "control")
    assert set(found["question"]) == {"control"}
    families = found[found["metric"] == "macro_f1"].groupby("family")
    assert {name: (len(rows), *set(rows["tests"])) for name, rows in families} == {
        "control against none: macro_f1 as_trained": (3, 3),
        "samplers against control: macro_f1 as_trained": (6, 6),
    }
    assert set(compare_samplers(table, 5)["tests"]) == {6}
    assert compare_control(table, 5, "control").empty


def test_a_simultaneous_interval_by_hand():
    """Three lines of scipy: a sem corrected for the overlap, and a quantile raised for six comparisons."""
    table = scores()
    row = one(compare_samplers(table, folds=5), sampler="ADASYN", model="forest", metric="accuracy")
    gaps = values(table, "ADASYN", "forest", "accuracy") - values(table, "none", "forest", "accuracy")
    error = stats.sem(gaps) * np.sqrt(1 + 5 / 4)
    expected = stats.t.interval(1 - 0.05 / 6, df=4, loc=gaps.mean(), scale=error)
    assert (row["low"], row["high"]) == pytest.approx(expected, rel=1e-12)


def test_verdicts_follow_from_the_numbers():
    table = compare_samplers(scores(), folds=5)
    assert set(table.loc[table["sampler"] == "SMOTE", "verdict"]) == {"better"}
    assert set(table.loc[table["sampler"] == "ADASYN", "verdict"]) == {"worse"}
    assert set(compare_samplers(scores(noise=0.3), folds=5)["verdict"]) == {"undecided"}
    assert set(compare_models(scores(noise=0), folds=5)["verdict"]) == {"practically equal"}


@pytest.mark.parametrize(
    ("low", "high", "equivalent", "lower", "word"),
    [
        (0.01, 0.1, 0.0, False, "better"),
        (-0.1, -0.01, 0.0, False, "worse"),
        (0.01, 0.1, 0.0, True, "worse"),
        (-0.1, -0.01, 0.0, True, "better"),
        (-0.01, 0.1, 0.94, False, "undecided"),
        (0.0, 0.1, 0.0, False, "undecided"),
        (-0.01, 0.1, 0.95, False, "practically equal"),
        (0.001, 0.004, 0.99, False, "practically equal"),
        (np.nan, np.nan, np.nan, False, "undecided"),
    ],
)
def test_the_words(low, high, equivalent, lower, word):
    assert verdict(low, high, equivalent, lower) == word


def contradictions(rows):
    """Return the comparisons of which the printed interval says something else than the verdict."""
    gain = np.where(rows["metric"].isin(["log_loss", "brier", "ece"]), -1, 1)
    low = np.where(gain > 0, rows["low"], -rows["high"])
    high = np.where(gain > 0, rows["high"], -rows["low"])
    holds = {
        "better": low > 0,
        "worse": high < 0,
        "practically equal": (low < ROPE) & (high > -ROPE) & (rows["equivalent"] >= 0.95),
        "undecided": ~((low > 0) | (high < 0)) & ~(rows["equivalent"] >= 0.95),
    }
    assert set(rows["verdict"]) <= set(holds)
    return rows[~np.choose([list(holds).index(word) for word in rows["verdict"]], [*holds.values()])]


@pytest.mark.parametrize("seed", range(40))
def test_no_verdict_contradicts_its_interval(seed):
    """Random grids: any effects and spreads, ties, losses, lost cells, few folds."""
    rng = np.random.default_rng(seed)
    repeats, folds = rng.integers(1, 4), rng.integers(2, 8)
    metrics = ["macro_f1", "log_loss", "recall_mel"]
    table = scores(repeats=repeats, folds=folds, metrics=metrics, noise=0)
    effect = rng.choice([0, 0.005, 0.02, 0.2], (3, 3)) * rng.choice([-1, 1], (3, 3))
    spread = rng.choice([0, 1e-4, 0.003, 0.01, 0.1])
    noise = rng.normal(0, spread, len(table)).round(rng.choice([2, 3, 15]))
    codes = table["sampler"].factorize()[0], table["model"].factorize()[0]
    table["value"] = 0.5 + effect[codes] + noise
    table = table.sample(frac=rng.choice([1, 0.8, 0.5]), random_state=seed)
    measures = [("as_trained", metric) for metric in metrics]
    for compare in (compare_samplers, compare_models):
        rows = compare(table, folds, measures=measures)
        assert contradictions(rows).empty
        assert contradictions(exchanged(rows)).empty
        known = rows[rows["low"].notna()]
        assert (known["folds"] >= 3).all()
        assert (known["low"] <= known["single_low"]).all()
        assert (known["single_high"] <= known["high"]).all()
        excludes = (known["low"] > 0) | (known["high"] < 0)
        assert (excludes == (known["p_simultaneous"] < 0.05)).all()
        unknown = rows[rows["low"].isna()]
        assert set(unknown["verdict"]) <= {"undecided"}
        numbers = ["high", "single_low", "single_high", "p", "p_simultaneous", "p_holm"]
        assert unknown[numbers].isna().all(axis=None)


def test_the_runs_of_the_tests_contradict_no_interval(record, make_run):
    """And the run in the folder that SKINMNIST_RUN names."""
    runs = [record, make_run(repeats=3, folds=3), make_run(finished=lambda cell: cell.fold % 3 != 1)]
    if "SKINMNIST_RUN" in os.environ:
        runs.append(read_run(os.environ["SKINMNIST_RUN"]))
    for run in runs:
        rows = analyze(run, draws=1).comparisons
        assert set(rows["question"]) == {"sampler", "model", "control"}
        assert contradictions(rows).empty


def test_less_is_better_for_losses():
    table = scores(metrics=("log_loss",))
    found = compare_samplers(table, 5, measures=[("as_trained", "log_loss")])
    row = one(found, sampler="SMOTE", model="cnn")
    assert row["difference"] > 0
    assert row["low"] > 0
    assert row["verdict"] == "worse"
    assert row["worse"] > 0.95


def test_few_folds_get_no_interval_and_stay_out_of_the_family():
    table = scores()
    short = table[~((table["model"] == "cnn") & (table["sampler"] == "SMOTE") & (table["fold"] > 1))]
    result = compare_samplers(short, folds=5)
    row = one(result, sampler="SMOTE", model="cnn", metric="macro_f1")
    assert (row["folds"], row["verdict"]) == (2, "undecided")
    unknown = ["low", "high", "single_low", "p", "p_simultaneous", "p_holm", "worse", "equivalent", "better"]
    assert row[unknown].isna().all()
    assert row["difference"] == pytest.approx(0.1, abs=0.05)
    assert set(result["tests"]) == {5}
    assert reason_undecided(row) == "fewer than 3 folds in common"


def test_the_reason_why_nothing_is_decided():
    row = {"folds": 5, "low": -0.1, "high": 0.2, "single_low": -0.05, "single_high": 0.1, "tests": 6}
    assert reason_undecided(row) == "its interval over folds includes zero"
    assert "but not over 6 comparisons" in reason_undecided(row | {"single_low": 0.01})
    assert "the same difference in every fold" in reason_undecided(row | {"low": np.nan})
    assert "fewer than 3" in reason_undecided(row | {"low": np.nan, "folds": 2})


def test_two_pairs_by_themselves_are_a_family_of_one():
    table = scores()
    found = compare_pair(table, 5, ("SMOTE", "svm"), ("none", "cnn"), ("as_trained", "accuracy"))
    gaps = values(table, "SMOTE", "svm", "accuracy") - values(table, "none", "cnn", "accuracy")
    test = corrected_t_test(gaps, 1 / 4)
    assert found[["low", "high"]].to_numpy().tolist() == [[test.low, test.high]]
    assert found["tests"].tolist() == [1]
    assert compare_pair(table, 5, ("SMOTE", "svm"), ("none", "knn"), ("as_trained", "accuracy")).empty


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
    assert list(compare_samplers(scores(), folds=5, measures=[])) == list(COMPARISON_COLUMNS)


def test_the_detectable_difference_is_half_an_interval():
    found = compare_samplers(scores(), folds=5, measures=[("as_trained", "macro_f1")])
    half = (found["high"] - found["low"]) / 2
    assert detectable_difference(found, 5) == pytest.approx(np.median(half))
    assert np.isnan(detectable_difference(found.assign(low=np.nan), 5))


def test_the_detectable_difference_of_more_repeats_has_their_folds_and_the_same_spread():
    table = scores(samplers=["none", "SMOTE"], models=["svm"], metrics=["macro_f1"])
    gaps = values(table, "SMOTE", "svm") - values(table, "none", "svm")
    expected = stats.t.ppf(0.975, 14) * gaps.std(ddof=1) * np.sqrt(1 / 15 + 1 / 4)
    assert detectable_difference(compare_samplers(table, 5), 5, planned=15) == pytest.approx(expected)
    assert detectable_difference(compare_samplers(table, 5), 5, planned=5) == pytest.approx(
        detectable_difference(compare_samplers(table, 5), 5)
    )


def test_exchanged_comparisons_are_those_of_the_models_in_the_other_order():
    table = scores(samplers=["none"], models=["svm", "cnn"])
    other = table.iloc[::-1].reset_index(drop=True)
    turned, wanted = exchanged(compare_models(table, folds=5)), compare_models(other, folds=5)
    pd.testing.assert_frame_equal(turned, wanted, check_exact=False, atol=1e-12)
    pd.testing.assert_frame_equal(exchanged(turned), compare_models(table, folds=5))


def test_trainings_on_the_same_pictures_are_averaged_and_make_no_new_folds():
    table = pd.concat([scores(), scores().assign(repeat=1, value=lambda rows: rows["value"] + 0.02)])
    apart = [[f"{repeat} {fold}" for fold in range(5)] for repeat in range(2)]
    assert each_part_once(table, apart) is table
    same = each_part_once(table, [apart[0], apart[0]])
    assert set(same["repeat"]) == {0}
    keys = ["sampler", "model", "fold", "metric"]
    wanted = scores().set_index(keys)["value"] + 0.01
    pd.testing.assert_series_equal(same.set_index(keys)["value"], wanted, check_like=True)
    found, once = compare_samplers(same, folds=5), compare_samplers(scores(), folds=5)
    assert set(found["folds"]) == {5}
    np.testing.assert_allclose(found["p"], once["p"])
    alone = each_part_once(table[table["fold"] == 0], [apart[0], apart[0]])
    result = compare_samplers(alone, folds=5)
    assert result["low"].isna().all()
    assert set(result["verdict"]) == {"undecided"}
    assert reason_undecided(result.iloc[0]) == "one held-out part has no spread over folds"
