"""Curves against naive loops, and against the scores that they should sum up to."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from skinmnist.analysis.curves import (
    BETWEEN_CLASSES,
    CURVE,
    FOR_MELANOMA,
    GRID,
    TRADEOFF_COLUMNS,
    area_under,
    decision_curves,
    precision_recall_curves,
    reliability_bins,
    roc_curves,
    sensitivities,
    tradeoff_curves,
)
from skinmnist.analysis.operating_points import operating_points
from skinmnist.decisions.probabilities import EXPONENTS
from skinmnist.errors import InputError
from skinmnist.experiment.metrics import expected_calibration_error

NAMES = ("nv", "bkl", "mel")
PAIRS = [("none", "svm"), ("SMOTE", "svm"), ("none", "cnn")]


@pytest.fixture(scope="module", params=[1, 15], ids=["many ties", "no ties"])
def predictions(invented, request):
    return invented(n_lesions=60, repeats=2, digits=request.param)[0]


def of(frame, pair, **wanted):
    chosen = (frame["sampler"] == pair[0]) & (frame["model"] == pair[1])
    for column, value in wanted.items():
        chosen &= frame[column] == value
    return frame[chosen]


def folds_of(predictions, pair, name):
    for _, rows in of(predictions, pair).groupby(["repeat", "fold"]):
        yield (rows["label"] == NAMES.index(name)).to_numpy(), rows[f"p_{name}"].to_numpy()


def test_bins_sum_up_to_the_calibration_error(predictions):
    table = reliability_bins(predictions, NAMES)
    assert len(table) == 3 * 15
    for pair in PAIRS:
        rows, bins = of(predictions, pair), of(table, pair)
        probabilities = rows[["p_nv", "p_bkl", "p_mel"]].to_numpy()
        gaps = bins["pictures"] * (bins["confidence"] - bins["accuracy"]).abs()
        error = expected_calibration_error(rows["label"].to_numpy(), probabilities)
        assert gaps.sum() / len(rows) == pytest.approx(error, abs=1e-12)
        assert bins["pictures"].sum() == len(rows)
        top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == rows["label"]
        for bin_ in bins.itertuples():
            inside = (top > bin_.low) & (top <= bin_.high)
            assert bin_.pictures == inside.sum()
            if inside.any():
                assert bin_.confidence == pytest.approx(top[inside].mean())
                assert bin_.accuracy == pytest.approx(right[inside].mean())
            else:
                assert np.isnan([bin_.confidence, bin_.accuracy]).all()


def slow_rates(truth, scores):
    """False and true positive rates of every threshold, from none called positive to all."""
    limits = [np.inf, *sorted(set(scores), reverse=True)]
    return [(np.mean(scores[~truth] >= limit), np.mean(scores[truth] >= limit)) for limit in limits]


def slow_roc(truth, scores):
    """Read the line between the corners: at a rate where it climbs, its upper end."""
    points = slow_rates(truth, scores)
    heights = []
    for rate in GRID:
        left = max(p for p in points if p[0] <= rate)
        right = min((p for p in points if p[0] > rate), default=left)
        share = 0.0 if right is left else (rate - left[0]) / (right[0] - left[0])
        heights.append(left[1] + share * (right[1] - left[1]))
    return heights


def test_roc_curves_are_means_of_the_folds(predictions):
    table = roc_curves(predictions, NAMES)
    for pair, name in ((PAIRS[0], "mel"), (PAIRS[1], "nv")):
        heights = [slow_roc(*fold) for fold in folds_of(predictions, pair, name)]
        curve = of(table, pair, **{"class": name})
        np.testing.assert_allclose(curve["false_positive_rate"], GRID)
        np.testing.assert_allclose(curve["true_positive_rate"], np.mean(heights, axis=0), atol=1e-9)
        np.testing.assert_allclose(curve["sd"], np.std(heights, axis=0, ddof=1), atol=1e-9)


def test_the_area_under_the_mean_curve_is_the_mean_area(predictions):
    table = roc_curves(predictions, NAMES)
    for pair in PAIRS:
        curve = of(table, pair, **{"class": "mel"})
        areas = [roc_auc_score(*fold) for fold in folds_of(predictions, pair, "mel")]
        # Within the width of one step of the grid.
        area = area_under(curve)
        assert area == pytest.approx(np.mean(areas), abs=0.005)


@pytest.mark.parametrize("n", [5, 8, 10, 20, 25, 40, 50, 100])
def test_rates_that_are_exact_quotients_are_read_at_their_upper_end(n):
    """Well and ill by turns: after i of n false positives there are i of n true ones."""
    frame = pd.DataFrame({"label": [0, 1] * n, "p_mel": np.linspace(1, 0, 2 * n), "p_nv": 0.0})
    frame = frame.assign(sampler="none", model="m", repeat=0, fold=0)
    curve = roc_curves(frame, ("nv", "mel")).query("`class` == 'mel'")
    np.testing.assert_allclose(curve["true_positive_rate"], np.floor(GRID * n + 1e-9) / n)


def slow_precisions(truth, scores):
    """Precision at the highest threshold that reaches each recall."""
    heights = []
    for rate in GRID:
        for limit in sorted(set(scores), reverse=True):
            called = scores >= limit
            if np.sum(truth & called) >= rate * truth.sum() - 1e-9:
                heights.append(np.sum(truth & called) / called.sum())
                break
    return heights


def test_precision_recall_curves_are_means_of_the_folds(predictions):
    table = precision_recall_curves(predictions, NAMES)
    for pair, name in ((PAIRS[0], "mel"), (PAIRS[2], "bkl")):
        folds = list(folds_of(predictions, pair, name))
        curve = of(table, pair, **{"class": name})
        expected = np.mean([slow_precisions(*fold) for fold in folds], axis=0)
        np.testing.assert_allclose(curve["precision"], expected, atol=1e-9)
        area = np.mean(curve["precision"].to_numpy()[1:])
        assert area == pytest.approx(np.mean([average_precision_score(*fold) for fold in folds]), abs=0.02)


def test_one_fold_has_no_spread(predictions):
    one = predictions.query("fold == 0 and repeat == 0")
    assert roc_curves(one, NAMES)["sd"].isna().all()
    assert sensitivities(one, NAMES, "mel")["sd"].isna().all()


def test_a_fold_without_a_class_is_left_out(predictions):
    without = predictions[(predictions["label"] != 2) | (predictions["fold"] != 0)]
    rest = predictions[predictions["fold"] != 0]
    for curves in (roc_curves, precision_recall_curves):
        one, other = (curves(frame, NAMES).query("`class` == 'mel'") for frame in (without, rest))
        pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))
    pd.testing.assert_frame_equal(
        sensitivities(without, NAMES, "mel"), sensitivities(rest, NAMES, "mel"), check_exact=False
    )


def test_sensitivity_at_a_specificity(predictions):
    table = sensitivities(predictions, NAMES, "mel", specificities=(0.8, 0.9, 1.0))
    for pair in PAIRS:
        for limit in (0.8, 0.9, 1.0):
            found = [
                max(true for false, true in slow_rates(*fold) if 1 - false >= limit - 1e-12)
                for fold in folds_of(predictions, pair, "mel")
            ]
            (row,) = of(table, pair, specificity=limit).itertuples()
            assert row.sensitivity == pytest.approx(np.mean(found), abs=1e-9)
            assert row.sd == pytest.approx(np.std(found, ddof=1), abs=1e-9)
            assert row.folds == 6
        assert of(table, pair)["sensitivity"].is_monotonic_decreasing


def test_specificities_that_are_exact_quotients_are_reached():
    """Nine of ten are left in peace: 1 - 1/10 in floats is no less than .9."""
    frame = pd.DataFrame({"label": [0] * 10 + [1] * 2, "p_a": 0.0, "sampler": "none", "model": "m"})
    frame = frame.assign(p_mel=[0.5, *[0.1] * 9, 0.4, 0.6], repeat=0, fold=0)
    table = sensitivities(frame, ("a", "mel"), "mel", specificities=(0.9, 0.95))
    assert table["sensitivity"].tolist() == [1.0, 0.5]


def test_net_benefit_by_its_definition(predictions):
    limits = [0.05, 0.1, 0.5, 0.9]
    table = decision_curves(predictions, NAMES, "mel", limits)
    for pair in PAIRS:
        rows = of(predictions, pair)
        ill, p = (rows["label"] == 2).to_numpy(), rows["p_mel"].to_numpy()
        for limit, row in zip(limits, of(table, pair).itertuples(), strict=True):
            treated, odds = p >= limit, limit / (1 - limit)
            benefit = (np.sum(treated & ill) - np.sum(treated & ~ill) * odds) / len(rows)
            assert row.net_benefit == pytest.approx(benefit, abs=1e-12)
            assert row.treat_all == pytest.approx(ill.mean() - (1 - ill.mean()) * odds, abs=1e-12)
            assert row.treat_none == 0


def test_a_low_threshold_treats_all(predictions):
    sure = predictions.assign(p_mel=predictions["p_mel"].clip(0.02))
    row = decision_curves(sure, NAMES, "mel", [0.01]).iloc[0]
    assert row["net_benefit"] == pytest.approx(row["treat_all"])


def test_the_order_of_the_rows_does_not_matter(predictions):
    shuffled = predictions.sample(frac=1, random_state=0)
    for make, more in (
        (reliability_bins, ()),
        (roc_curves, ()),
        (precision_recall_curves, ()),
        (sensitivities, ("mel",)),
        (decision_curves, ("mel",)),
    ):
        one, other = make(predictions, NAMES, *more), make(shuffled, NAMES, *more)
        keys = [c for c in one.columns if c not in ("sd", "true_positive_rate", "precision", "sensitivity")]
        frames = [frame.sort_values(keys[:4]).reset_index(drop=True) for frame in (one, other)]
        pd.testing.assert_frame_equal(*frames, check_exact=False, rtol=0, atol=1e-12)


def test_a_run_without_a_finished_cell(predictions):
    none = predictions.iloc[:0]
    for table in (
        reliability_bins(none, NAMES),
        roc_curves(none, NAMES),
        precision_recall_curves(none, NAMES),
        sensitivities(none, NAMES, "mel"),
        decision_curves(none, NAMES, "mel"),
    ):
        assert table.empty
        assert list(table.columns[:2]) == ["sampler", "model"]


def test_bad_arguments(predictions):
    for make in (sensitivities, decision_curves):
        with pytest.raises(InputError, match="received class 'wart'; expected one of nv, bkl, mel"):
            make(predictions, NAMES, "wart")
    with pytest.raises(InputError, match="expected values above 0 and below 1"):
        decision_curves(predictions, NAMES, "mel", [0.1, 1.0])


def marks_of(frame, plane):
    rows = frame[(frame["x"] == plane[0]) & (frame["mark"] != CURVE)]
    return rows.set_index(["sampler", "model", "mark"])


@pytest.mark.parametrize("repeats", [1, 2])
def test_marks_are_the_means_of_the_operating_points(make_record, repeats):
    record = make_record(repeats=repeats)
    found = tradeoff_curves(record.results, NAMES)
    assert list(found.columns) == list(TRADEOFF_COLUMNS)
    points = operating_points(record.results, NAMES).groupby(["sampler", "model", "rule", "metric"])["value"]
    means, spreads = points.mean(), points.std()
    marks = {plane: marks_of(found, plane) for plane in (BETWEEN_CLASSES, FOR_MELANOMA)}
    assert all(len(rows) == 3 * 3 for rows in marks.values())
    for plane, scores in ((BETWEEN_CLASSES, {"x": "accuracy"}), (FOR_MELANOMA, {})):
        for pair, row in marks[plane].iterrows():
            for axis, score in {**scores, "y": plane[1]}.items():
                assert row[f"{axis}_mean"] == pytest.approx(means[(*pair, score)], abs=1e-12)
                assert row[f"{axis}_sd"] == pytest.approx(spreads[(*pair, score)], abs=1e-12)
            assert row["cells"] == 3 * repeats


def test_lines_pass_through_the_natural_and_the_balanced_prior(make_record):
    record = make_record()
    found = tradeoff_curves(record.results, NAMES)
    lines = found[(found["mark"] == CURVE) & (found["x"] == "accuracy")]
    points = operating_points(record.results, NAMES).groupby(["sampler", "model", "rule", "metric"])["value"]
    for pair in PAIRS:
        line = of(lines, pair).set_index("exponent")
        assert list(line.index) == list(EXPONENTS)
        for exponent, rule in ((0.0, "natural_prior"), (1.0, "balanced_prior")):
            expected = [points.mean()[(*pair, rule, score)] for score in BETWEEN_CLASSES]
            np.testing.assert_allclose(line.loc[exponent, ["x_mean", "y_mean"]].astype(float), expected)


def test_the_line_for_melanoma_is_its_roc_curve(make_record):
    """The invented cells are trained at the natural mix."""
    record = make_record(repeats=2)
    found = tradeoff_curves(record.results, NAMES)
    curves = roc_curves(record.predictions, NAMES)
    for pair in PAIRS:
        line = of(found, pair, mark=CURVE, x=FOR_MELANOMA[0])
        roc = of(curves, pair, **{"class": "mel"}).iloc[::2]
        np.testing.assert_allclose(line["x_mean"], 1 - roc["false_positive_rate"], atol=1e-12)
        np.testing.assert_allclose(line["y_mean"], roc["true_positive_rate"], atol=1e-9)
        np.testing.assert_allclose(line["y_sd"], roc["sd"], atol=1e-9)


def test_correlations_over_the_cells(make_record):
    record = make_record(repeats=2)
    found = of(tradeoff_curves(record.results, NAMES), PAIRS[0], mark="as_trained", x="accuracy")
    cells = of(record.scores, PAIRS[0]).pivot_table(
        index=["repeat", "fold"], columns="metric", values="value"
    )
    expected = np.corrcoef(cells["accuracy"], cells["balanced_accuracy"])[0, 1]
    assert found["correlation"].item() == pytest.approx(expected, abs=1e-12)


def test_a_cell_alone_has_no_spread_and_no_tuned_marks(make_record):
    found = tradeoff_curves(make_record(keep=lambda cell: cell.fold == 0).results, NAMES)
    assert set(found["mark"]) == {CURVE, "as_trained"}
    assert found[["x_sd", "y_sd", "correlation"]].isna().all(axis=None)


def test_a_table_without_melanoma_has_one_plane(make_record):
    found = tradeoff_curves(make_record().results, ("nv", "bkl", "other"))
    assert set(found["x"]) == {"accuracy"}
    assert tradeoff_curves((), NAMES).empty
