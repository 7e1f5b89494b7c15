"""Tables of comparisons: who is compared with whom, in which family, and what is said about it."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skinmnist.analysis.differences import (
    COMPARISON_COLUMNS,
    compare_models,
    compare_samplers,
    verdict,
)
from skinmnist.analysis.significance import holm

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
