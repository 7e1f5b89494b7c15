"""Intervals against a slow loop, their coverage, and scores under weights against tables of copied rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from skinmnist.analysis import bootstrap as module
from skinmnist.analysis.bootstrap import (
    INTERVAL_COLUMNS,
    REWEIGHTED_METRICS,
    bootstrap_scores,
    bootstrap_with_differences,
    difference_intervals,
    intervals,
    score_weighted,
    sum_cell,
)
from skinmnist.errors import InputError
from skinmnist.experiment.metrics import score, score_predictions

NAMES = ("nv", "bkl", "mel")
WEIGHED_CLASSES = ("a", "b", "c", "d")
METRICS = ["macro_f1", "balanced_accuracy", "accuracy", "macro_auc", "recall_mel"]

pytestmark = pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")


def slow_draws(predictions, lesions, draws, seed):
    """Copy the rows of the lesions drawn, score every fold with `metrics.score`, take the mean."""
    rng = np.random.default_rng(seed)
    in_order = list(dict.fromkeys(lesions.tolist()))
    scores = {}
    for _ in range(draws):
        picked = rng.integers(0, len(in_order), len(in_order))
        times = dict.fromkeys(in_order, 0)
        for pick in picked:
            times[in_order[pick]] += 1
        for pair, rows in predictions.groupby(["sampler", "model"], sort=False):
            found = []
            for _, cell in rows.groupby(["repeat", "fold"]):
                copies = cell.loc[cell.index.repeat([times[lesions[row]] for row in cell["row"]])]
                probabilities = copies[[f"p_{name}" for name in NAMES]].to_numpy()
                found.append(
                    score(copies["label"].to_numpy(), copies["predicted"].to_numpy(), probabilities, NAMES)
                )
            scores.setdefault(pair, []).append(pd.DataFrame(found).reindex(columns=METRICS).mean())
    return {pair: pd.DataFrame(rows) for pair, rows in scores.items()}


@pytest.mark.parametrize("repeats", [1, 2])
def test_draws_against_a_slow_loop(invented, repeats):
    predictions, lesions = invented(n_lesions=25, repeats=repeats)
    predictions = predictions[predictions["model"] == "svm"]
    found = bootstrap_scores(predictions, NAMES, lesions, draws=6, random_state=3)
    expected = slow_draws(predictions, lesions, draws=6, seed=3)
    assert list(found) == [("none", "svm"), ("SMOTE", "svm")]
    for pair, frame in found.items():
        assert list(frame.columns) == METRICS
        np.testing.assert_allclose(frame.to_numpy()[1:], expected[pair].to_numpy(), rtol=0, atol=1e-9)


def test_values_are_those_of_the_leaderboard(invented):
    predictions, lesions = invented(repeats=2)
    scores = score_predictions(predictions, NAMES)
    means = scores.groupby(["sampler", "model", "metric"])["value"].mean()
    table = intervals(bootstrap_scores(predictions, NAMES, lesions, draws=30))
    assert tuple(table.columns) == INTERVAL_COLUMNS
    assert len(table) == 3 * 5
    for row in table.itertuples():
        assert row.value == pytest.approx(means[row.sampler, row.model, row.metric], abs=1e-12)
        assert 0 <= row.low <= row.value <= row.high <= 1
        assert row.draws == 30


def test_intervals_by_hand():
    """Percentiles of the draws, moved to where their mean is the value; never beyond what a score can be."""
    draws = np.linspace(0.4, 0.6, 101)
    table = {"middle": 0.62, "top": 0.95, "bottom": 0.05}
    frame = pd.DataFrame({name: [value, *draws] for name, value in table.items()})
    found = intervals({("s", "m"): frame}).set_index("metric")
    for name, value in table.items():
        assert found.loc[name, "low"] == pytest.approx(max(0, value - 0.095))
        assert found.loc[name, "high"] == pytest.approx(min(1, value + 0.095))
    half = intervals({("s", "m"): frame}, confidence=0.5).set_index("metric")
    assert half.loc["middle", ["low", "high"]].tolist() == pytest.approx([0.57, 0.67])


def test_lopsided_draws_still_hold_the_value():
    frame = pd.DataFrame({"up": [0.5, *[0.2] * 990, *[0.9] * 10], "down": [0.5, *[0.8] * 990, *[0.1] * 10]})
    for row in intervals({("s", "m"): frame}).itertuples():
        assert row.low <= 0.5 <= row.high


def test_rows_without_lesions_stand_for_themselves(invented):
    predictions, _ = invented()
    alone = bootstrap_scores(predictions, NAMES, None, draws=20)
    each_its_own = bootstrap_scores(predictions, NAMES, 7 * np.arange(1000), draws=20)
    for pair, frame in alone.items():
        pd.testing.assert_frame_equal(frame, each_its_own[pair])


def test_lesions_make_wider_intervals_than_pictures(invented):
    """Ten copies of every picture are no new witnesses."""
    predictions, lesions = invented()
    n = len(lesions)
    copies = pd.concat([predictions.assign(row=predictions["row"] + n * i) for i in range(10)])
    once = intervals(bootstrap_scores(predictions, NAMES, lesions, draws=300))
    by_lesion = intervals(bootstrap_scores(copies, NAMES, np.tile(lesions, 10), draws=300))
    by_row = intervals(bootstrap_scores(copies, NAMES, None, draws=300))
    pd.testing.assert_frame_equal(once, by_lesion)
    assert ((by_row["high"] - by_row["low"]) < 0.6 * (once["high"] - once["low"])).all()


def test_neither_order_nor_names_nor_chunks_matter(invented, monkeypatch):
    predictions, lesions = invented()
    before = bootstrap_scores(predictions, NAMES, lesions, draws=100)
    shuffled = predictions.sample(frac=1, random_state=0)
    renamed = np.random.default_rng(0).permutation(lesions.max() + 1)[lesions]
    monkeypatch.setattr(module, "_WEIGHTS", 7 * (lesions.max() + 1))
    after = bootstrap_scores(shuffled, NAMES, renamed, draws=100)
    for pair, frame in before.items():
        pd.testing.assert_frame_equal(frame, after[pair], check_exact=False, rtol=0, atol=1e-12)


def test_the_seed_decides(invented):
    predictions, lesions = invented()
    one, same, other = (
        intervals(bootstrap_scores(predictions, NAMES, lesions, draws=50, random_state=s)) for s in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, same)
    assert (one["low"] != other["low"]).any()
    pd.testing.assert_series_equal(one["value"], other["value"])


def test_a_class_that_a_draw_misses_is_left_out_of_it(invented):
    """One melanoma in all: draws without it know no melanoma recall, and all else."""
    predictions, _ = invented()
    chosen = predictions["label"] != 2
    chosen |= predictions["row"] == predictions.loc[~chosen, "row"].min()
    table = intervals(bootstrap_scores(predictions[chosen], NAMES, draws=200)).set_index(
        ["sampler", "model", "metric"]
    )
    for pair in (("none", "svm"), ("none", "cnn")):
        assert 90 < table.loc[(*pair, "recall_mel"), "draws"] < 160
        assert table.loc[(*pair, "macro_auc"), "draws"] == 200


def test_without_a_class_of_that_name_there_is_no_recall(invented):
    predictions, lesions = invented()
    renamed = predictions.rename(columns={"p_mel": "p_other"})
    table = intervals(bootstrap_scores(renamed, ("nv", "bkl", "other"), lesions, draws=5))
    assert list(dict.fromkeys(table["metric"])) == METRICS[:-1]
    table = intervals(bootstrap_scores(renamed, ("nv", "bkl", "other"), lesions, draws=5, recall_of="other"))
    assert "recall_other" in set(table["metric"])


def test_no_draws_and_no_rows(invented):
    predictions, lesions = invented()
    table = intervals(bootstrap_scores(predictions, NAMES, lesions, draws=0))
    assert table["value"].notna().all()
    assert table[["low", "high"]].isna().all(axis=None)
    empty = intervals(bootstrap_scores(predictions.iloc[:0], NAMES, lesions))
    assert tuple(empty.columns) == INTERVAL_COLUMNS
    assert empty.empty


def test_lesions_of_another_table_are_refused(invented):
    predictions, lesions = invented()
    with pytest.raises(InputError, match="pass the lesion of every row of the table"):
        bootstrap_scores(predictions, NAMES, lesions[:-5])


def test_differences_are_taken_draw_by_draw(invented):
    predictions, lesions = invented()
    scores, differences = bootstrap_with_differences(predictions, NAMES, lesions, None, draws=200)
    table = difference_intervals(differences)
    assert set(zip(table["sampler"], table["model"], strict=True)) == {("SMOTE", "svm")}
    both = intervals(scores).set_index(["sampler", "model", "metric"])["value"]
    gaps = (scores["SMOTE", "svm"] - scores["none", "svm"]).iloc[1:]
    for row in table.itertuples():
        gap = both["SMOTE", "svm", row.metric] - both["none", "svm", row.metric]
        assert row.value == pytest.approx(gap)
        assert row.low <= row.value <= row.high
        low, high = np.quantile(gaps[row.metric], [0.025, 0.975])
        assert row.high - row.low == pytest.approx(high - low)
    again = predictions[(predictions["sampler"] == "none") & (predictions["model"] == "svm")]
    both = pd.concat([again, again.assign(sampler="again")])
    same = difference_intervals(bootstrap_with_differences(both, NAMES, lesions, None, draws=20)[1])
    assert (same[["value", "low", "high"]] == 0).all(axis=None)


@pytest.mark.parametrize(("sampler", "fold"), [("SMOTE", 1), ("none", 2)])
@pytest.mark.parametrize("by_lesion", [False, True], ids=["pictures", "lesions"])
def test_differences_are_taken_over_the_cells_that_both_sides_have(invented, sampler, fold, by_lesion):
    predictions, lesions = invented(repeats=2)
    scored = lesions if by_lesion else None
    lost = (predictions["sampler"] == sampler) & (predictions["fold"] == fold) & (predictions["repeat"] == 1)
    both_lost = (predictions["fold"] == fold) & (predictions["repeat"] == 1)
    found, expected = (
        difference_intervals(bootstrap_with_differences(rows, NAMES, lesions, scored, draws=30)[1])
        for rows in (predictions[~lost], predictions[~both_lost])
    )
    pd.testing.assert_frame_equal(found, expected)
    assert found["metric"].str.startswith("lesion_").any() == by_lesion


@pytest.mark.parametrize("by_lesion", [False, True], ids=["pictures", "lesions"])
@pytest.mark.parametrize("seed", range(3))
def test_copies_of_cells_that_hold_out_the_same_part_do_not_move_a_difference(invented, seed, by_lesion):
    """Whatever number of equal trainings a side has for each part, and whatever the other side has."""
    predictions, lesions = invented()
    predictions = predictions[predictions["model"] == "svm"]
    held_out, scored = [["a", "b", "c"]] * 4, lesions if by_lesion else None
    cells = predictions.groupby(["sampler", "fold"])
    counts = np.random.default_rng(seed).integers(1, 5, cells.ngroups)
    copies = [
        rows.assign(repeat=repeat)
        for (_, rows), count in zip(cells, counts, strict=True)
        for repeat in range(4 - count, 4)
    ]
    _, once = bootstrap_with_differences(predictions, NAMES, lesions, scored, draws=20)
    _, found = bootstrap_with_differences(
        pd.concat(copies), NAMES, lesions, scored, draws=20, held_out=held_out
    )
    pd.testing.assert_frame_equal(found["SMOTE", "svm"], once["SMOTE", "svm"], rtol=0, atol=1e-12)


def test_sides_without_a_shared_cell_have_no_difference(invented):
    predictions, lesions = invented()
    apart = predictions[(predictions["sampler"] == "none") == (predictions["fold"] == 0)]
    scores, differences = bootstrap_with_differences(apart, NAMES, lesions, lesions, draws=5)
    assert ("SMOTE", "svm") in scores
    assert not differences


def test_intervals_hold_the_truth_about_as_often_as_promised():
    """The short form of ``experiments/benchmarks/interval_coverage.py``."""
    rng = np.random.default_rng(0)
    n_lesions, tables = 400, 100

    def table():
        of_lesion = rng.choice(2, n_lesions, p=[0.7, 0.3])
        lesions = np.arange(n_lesions).repeat(rng.integers(1, 4, n_lesions))
        values = (
            of_lesion[lesions] + rng.normal(size=n_lesions)[lesions] + 0.5 * rng.normal(size=len(lesions))
        )
        p = 1 / (1 + np.exp(-2 * values + 1))
        frame = {
            "sampler": "none",
            "model": "m",
            "repeat": 0,
            "fold": lesions % 4,
            "row": range(len(lesions)),
        }
        frame |= {"label": of_lesion[lesions], "predicted": p > 0.5, "p_nv": 1 - p, "p_mel": p}
        return pd.DataFrame(frame), lesions

    def scored(draws, seed=0):
        predictions, lesions = table()
        return bootstrap_scores(predictions, ("nv", "mel"), lesions, draws, seed)

    truth = pd.concat(scored(0)["none", "m"] for _ in range(300)).mean()
    held = []
    for seed in range(tables):
        found = intervals(scored(200, seed)).set_index("metric")
        held.append((found["low"] <= truth) & (truth <= found["high"]))
    coverage = pd.DataFrame(held).mean()
    assert coverage.between(0.89, 0.99).all(), coverage


def invent_cell(n=150, k=4, n_units=60, digits=1, seed=0):
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


def invent_weights(n_units, count=15, seed=1):
    return np.random.default_rng(seed).poisson(0.8, (n_units, count)).astype(np.float32)


@pytest.mark.parametrize("digits", [1, 2, 15], ids=["many ties", "some ties", "no ties"])
@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")
def test_weights_are_copies(digits):
    rows = invent_cell(digits=digits)
    weights = invent_weights(60)
    found = score_weighted(sum_cell(*rows), weights, recall_of=2)
    assert found.shape == (5, 15)
    for place in range(weights.shape[1]):
        labels, predicted, probabilities, _ = repeated(rows, weights[:, place])
        expected = score(labels, predicted, probabilities, WEIGHED_CLASSES)
        wanted = [expected.get(name, np.nan) for name in (*REWEIGHTED_METRICS, "recall_c")]
        np.testing.assert_allclose(found[:, place], wanted, rtol=0, atol=1e-12)


def test_the_area_is_that_of_sample_weights():
    labels, predicted, probabilities, units = invent_cell(digits=1)
    weights = invent_weights(60) + 1
    found = score_weighted(sum_cell(labels, predicted, probabilities, units), weights)[3]
    for place in range(weights.shape[1]):
        areas = [
            roc_auc_score(labels == code, probabilities[:, code], sample_weight=weights[units, place])
            for code in range(4)
        ]
        assert found[place] == pytest.approx(np.mean(areas), abs=1e-12)


def test_all_weights_doubled_change_nothing():
    sums, weights = sum_cell(*invent_cell()), invent_weights(60)
    np.testing.assert_allclose(score_weighted(sums, 2 * weights), score_weighted(sums, weights), atol=1e-12)


def test_the_order_of_the_rows_does_not_matter():
    rows, weights = invent_cell(), invent_weights(60)
    order = np.random.default_rng(2).permutation(len(rows[0]))
    shuffled = [column[order] for column in rows]
    one, other = (score_weighted(sum_cell(*r), weights) for r in (rows, shuffled))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_what_a_draw_cannot_tell_is_unknown():
    labels, probabilities = np.array([0, 0, 1, 1]), np.full((4, 3), 1 / 3)
    sums = sum_cell(labels, np.array([0, 1, 1, 1]), probabilities, np.arange(4))
    weights = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], np.float32).T
    f1, balanced, accuracy, auc, recall = score_weighted(sums, weights, recall_of=1)
    np.testing.assert_allclose(f1[:2], [(2 / 3 + 0.8) / 2, (2 / 3 + 0) / 2])
    np.testing.assert_allclose(balanced, [0.75, 0.5, np.nan])
    np.testing.assert_allclose(accuracy, [0.75, 0.5, np.nan])
    np.testing.assert_allclose(auc, [0.5, np.nan, np.nan])
    np.testing.assert_allclose(recall, [1, np.nan, np.nan])


def test_a_single_class_has_no_ranking():
    sums = sum_cell(np.zeros(3, int), np.zeros(3, int), np.full((3, 2), 0.5), np.arange(3))
    assert np.isnan(score_weighted(sums, np.ones((3, 2), np.float32))[3]).all()


def test_many_rows_are_counted_exactly():
    """Sums of ranks beyond what float32 can hold."""
    rng = np.random.default_rng(0)
    n = 30_000
    labels = rng.integers(0, 2, n)
    probabilities = rng.random((n, 2))
    weights = rng.integers(0, 4, (n, 2)).astype(np.float32)
    found = score_weighted(sum_cell(labels, labels, probabilities, np.arange(n)), weights)[3]
    areas = [
        roc_auc_score(labels == code, probabilities[:, code], sample_weight=weights[:, 1]) for code in (0, 1)
    ]
    assert found[1] == pytest.approx(np.mean(areas), abs=1e-12)
