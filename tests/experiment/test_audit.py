"""Labels that models doubt, against a naive reading of confident learning, and labels flipped on purpose."""

import numpy as np
import pytest

from skinmnist.experiment.audit import (
    AUDIT_COLUMNS,
    audit_labels,
    count_shared,
    label_audit,
    mean_probabilities,
)
from skinmnist.experiment.cells import Cell, CellResult, Timing
from skinmnist.experiment.splits import ALWAYS_TRAINED, LEFT_OUT, VALIDATION

NAMES = ("a", "b", "c")


def result(rows, labels, probabilities, sampler="none", model="svm", repeat=0):
    k = probabilities.shape[1]
    return CellResult(
        cell=Cell(sampler, model, repeat, 0),
        rows=np.asarray(rows),
        labels=np.asarray(labels),
        probabilities=probabilities,
        timing=Timing(10, 10, 0.0, 0.0, 0.0, 0.0),
        counts_before=np.ones(k, dtype=np.int64),
        counts_after=np.ones(k, dtype=np.int64),
        natural_mix=np.ones(k),
        training_mix=np.ones(k),
    )


def drawn(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.choice(3, n, p=[0.7, 0.2, 0.1]), rng.dirichlet(np.ones(3), n)


@pytest.mark.parametrize("seed", range(5))
def test_doubted_labels_are_those_of_a_naive_reading(seed):
    labels, probabilities = drawn(seed=seed)
    suggested, doubted = audit_labels(labels, probabilities)
    usual = [probabilities[labels == code, code].mean() for code in range(3)]
    for row, (label, of_row) in enumerate(zip(labels, probabilities, strict=True)):
        claimed = [code for code in range(3) if of_row[code] >= usual[code]]
        likeliest = max(claimed, key=lambda code: of_row[code], default=label)
        assert doubted[row] == (likeliest != label)
        if doubted[row]:
            assert suggested[row] == likeliest
        assert suggested[row] != label


@pytest.mark.parametrize("seed", range(5))
def test_shared_lesions_are_those_with_pictures_in_several_folds(seed):
    rng = np.random.default_rng(seed)
    lesions = rng.integers(0, 30, 60)
    fold_of = rng.choice(np.array([ALWAYS_TRAINED, VALIDATION, LEFT_OUT, 0, 1], np.int8), 60)
    homes = {lesion: {*fold_of[lesions == lesion]} - {LEFT_OUT} for lesion in lesions}
    shared = [lesion for lesion, folds in homes.items() if len(folds) > 1]
    pictures = sum(int(np.count_nonzero(fold_of[lesions == lesion] != LEFT_OUT)) for lesion in shared)
    assert count_shared(lesions, fold_of) == (len(shared), pictures)
    assert count_shared(lesions, np.full(60, LEFT_OUT)) == (0, 0)


def test_a_class_without_pictures_is_never_claimed():
    labels, probabilities = drawn()
    labels[labels == 2] = 0
    suggested, doubted = audit_labels(labels, probabilities)
    assert not (suggested[doubted] == 2).any()


def test_flipped_labels_come_first():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 400)
    probabilities = rng.dirichlet([1, 1, 1], 400) * 0.3
    probabilities[np.arange(400), labels] += 0.7
    flipped = rng.choice(400, 20, replace=False)
    noisy = labels.copy()
    noisy[flipped] = (labels[flipped] + 1) % 3
    order = rng.permutation(400)
    audit = label_audit([result(order, noisy[order], probabilities[order])], NAMES)
    assert list(audit.columns) == list(AUDIT_COLUMNS)
    assert len(audit) == 400
    assert set(audit["row"].head(20)) == set(flipped)
    assert audit["doubted"].head(20).mean() > 0.5 > 0.1 > audit["doubted"].tail(300).mean()
    assert [NAMES[labels[row]] for row in audit["row"].head(20)] == audit["suggested"].head(20).tolist()
    assert audit["p_label"].is_monotonic_increasing


def test_models_and_repeats_are_averaged_and_samplers_left_out_where_there_are_others():
    labels, one = drawn(seed=1)
    _, two = drawn(seed=2)
    _, three = drawn(seed=3)
    rows = np.arange(60)
    results = [
        result(rows, labels, one),
        result(rows[::-1], labels[::-1], two[::-1], repeat=1),
        result(rows, labels, three, sampler="SMOTE"),
    ]
    found, given, mean = mean_probabilities(results)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(given, labels)
    np.testing.assert_allclose(mean, (one + two) / 2)
    np.testing.assert_allclose(mean_probabilities(results[2:])[2], three)
    assert label_audit([], NAMES).empty
