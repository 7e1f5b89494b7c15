"""Scores against computations that share no code with them."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from skinmnist.experiment.metrics import (
    METRIC_TITLES,
    expected_calibration_error,
    mean_scores,
    metric_names,
    ranking_areas,
    score,
    score_predictions,
)

NAMES = ("a", "b", "c")


def predictions(n=200, seed=0, k=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    probabilities = rng.dirichlet(np.ones(k), n)
    probabilities[np.arange(n), labels] += 0.3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities.argmax(axis=1), probabilities


def slow_auc(truth, values):
    pairs = [(p > q) + 0.5 * (p == q) for p in values[truth] for q in values[~truth]]
    return sum(pairs) / len(pairs)


def slow_average_precision(truth, values):
    order = sorted(range(len(values)), key=lambda i: -values[i])
    hits = total = 0
    for place, i in enumerate(order, start=1):
        hits += truth[i]
        total += truth[i] * hits / place
    return total / truth.sum()


def slow_scores(labels, predicted, probabilities):
    n, k = probabilities.shape
    confusion = [[sum((labels == i) & (predicted == j)) for j in range(k)] for i in range(k)]
    recall = [confusion[i][i] / sum(confusion[i]) for i in range(k)]
    precision = [confusion[i][i] / sum(row[i] for row in confusion) for i in range(k)]
    f1 = [2 * r * p / (r + p) for r, p in zip(recall, precision, strict=True)]
    right = sum(confusion[i][i] for i in range(k))
    true_counts = [sum(row) for row in confusion]
    predicted_counts = [sum(row[i] for row in confusion) for i in range(k)]
    covariance = right * n - sum(t * p for t, p in zip(true_counts, predicted_counts, strict=True))
    spread = math.sqrt(
        (n * n - sum(p * p for p in predicted_counts)) * (n * n - sum(t * t for t in true_counts))
    )
    ece = 0.0
    for i in range(15):
        inside = [
            (max(p), int(p.argmax() == y))
            for p, y in zip(probabilities, labels, strict=True)
            if i / 15 < max(p) <= (i + 1) / 15
        ]
        if inside:
            ece += abs(sum(c for c, _ in inside) - sum(r for _, r in inside)) / n
    truths = [labels == i for i in range(k)]
    return {
        "accuracy": right / n,
        "balanced_accuracy": sum(recall) / k,
        "macro_f1": sum(f1) / k,
        "macro_auc": sum(slow_auc(t, probabilities[:, i]) for i, t in enumerate(truths)) / k,
        "macro_average_precision": sum(
            slow_average_precision(t, probabilities[:, i]) for i, t in enumerate(truths)
        )
        / k,
        "mcc": covariance / spread,
        "log_loss": -sum(math.log(p[y]) for p, y in zip(probabilities, labels, strict=True)) / n,
        "brier": sum(
            sum((p[i] - (i == y)) ** 2 for i in range(k)) for p, y in zip(probabilities, labels, strict=True)
        )
        / n,
        "ece": ece,
        **{f"recall_{NAMES[i]}": recall[i] for i in range(k)},
        **{f"precision_{NAMES[i]}": precision[i] for i in range(k)},
    }


@pytest.mark.parametrize("seed", range(3))
def test_every_score_equals_its_definition(seed):
    found = score(*predictions(seed=seed), NAMES)
    expected = slow_scores(*predictions(seed=seed))
    assert found.keys() == expected.keys() == set(metric_names(NAMES))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


def test_the_dummy_has_the_known_scores():
    """Always nv on HAM10000's class counts: accuracy .669, macro-F1 .115, AUC one half."""
    labels = np.repeat(np.arange(7), (327, 514, 1099, 115, 6705, 142, 1113))
    probabilities = np.tile(np.bincount(labels) / len(labels), (len(labels), 1))
    found = score(labels, np.full(len(labels), 4), probabilities, tuple("abcdefg"))
    assert found["accuracy"] == pytest.approx(0.669, abs=5e-4)
    assert found["macro_f1"] == pytest.approx(0.115, abs=5e-4)
    assert found["balanced_accuracy"] == pytest.approx(1 / 7)
    assert found["macro_auc"] == pytest.approx(0.5)
    assert found["mcc"] == 0


def test_what_cannot_be_given_is_absent():
    labels, _, probabilities = predictions()
    kept = labels != 2
    found = score(labels[kept], np.zeros(kept.sum(), dtype=int), probabilities[kept], NAMES)
    assert "recall_c" not in found
    assert "precision_b" not in found
    assert "precision_c" not in found
    assert found["precision_a"] == np.mean(labels[kept] == 0)
    assert found["balanced_accuracy"] == 0.5


def test_calibration_error_is_zero_where_confidence_is_accuracy():
    probabilities = np.array([[0.75, 0.25]] * 4)
    assert expected_calibration_error(np.array([0, 0, 0, 1]), probabilities) == pytest.approx(0)
    assert expected_calibration_error(np.array([1, 1, 1, 1]), probabilities) == pytest.approx(0.75)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    probabilities = np.array([[0.6, 0.4], [0.61, 0.39]])
    assert expected_calibration_error(np.array([0, 1]), probabilities) == pytest.approx((0.4 + 0.61) / 2)


def test_cells_are_scored_one_by_one_in_their_order():
    frames = []
    for cell in [("none", "x", 0, 1), ("none", "x", 0, 0), ("SMOTE", "a", 0, 0)]:
        labels, predicted, probabilities = predictions(seed=cell[3] + len(cell[0]))
        frame = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in NAMES])
        frame[["sampler", "model", "repeat", "fold"]] = cell
        frame["label"], frame["predicted"] = labels, predicted
        frames.append(frame)
    scores = score_predictions(pd.concat(frames), NAMES)
    assert list(scores.columns) == ["sampler", "model", "repeat", "fold", "metric", "value"]
    cells = scores[["sampler", "fold"]].drop_duplicates().to_numpy().tolist()
    assert cells == [["none", 1], ["none", 0], ["SMOTE", 0]]
    one = scores[(scores["sampler"] == "none") & (scores["fold"] == 0)].set_index("metric")["value"]
    assert one.to_dict() == score(*predictions(seed=4), NAMES)


def test_every_metric_is_explained():
    assert set(METRIC_TITLES) == {
        name for name in metric_names(NAMES) if not name.endswith(("_a", "_b", "_c"))
    }


@pytest.mark.parametrize("levels", [2, 7, 10_000])
def test_areas_with_ties_are_those_of_scikit_learn(levels):
    rng = np.random.default_rng(levels)
    truth = rng.random(300) < 0.2
    values = rng.integers(0, levels, 300) / levels + truth * 0.3
    expected = (roc_auc_score(truth, values), average_precision_score(truth, values))
    np.testing.assert_allclose(ranking_areas(truth, values), expected, rtol=1e-12)


def test_a_mean_needs_the_score_of_every_cell():
    cells = [{"accuracy": 0.5, "mcc": 0.1}, {"accuracy": 1.0, "ece": 0.2}]
    assert mean_scores(cells, ["accuracy", "mcc", "ece"]) == {"accuracy": 0.75}
    assert mean_scores(cells[:1], ["mcc"]) == {"mcc": 0.1}
    assert mean_scores([], ["accuracy"]) == {}
