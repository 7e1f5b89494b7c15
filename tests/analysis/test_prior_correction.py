"""The class frequencies divided out of the answers of trained models."""

import numpy as np
import pandas as pd
import pytest

from skinmnist.analysis.prior_correction import (
    PRIOR_CORRECTION,
    correct_priors,
    prior_corrected,
    prior_corrected_predictions,
    prior_corrected_scores,
)
from skinmnist.experiment.cells import Cell

NAMES = ("nv", "bkl", "mel")


def test_probabilities_without_the_prior_by_hand():
    found = prior_corrected(np.array([[0.8, 0.15, 0.05], [0.9, 0.1, 0.0]]), np.array([80.0, 10.0, 10.0]))
    np.testing.assert_allclose(found, [[1 / 3, 1.5 / 3, 0.5 / 3], [9 / 17, 8 / 17, 0]])


def test_equal_frequencies_correct_nothing():
    p = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    np.testing.assert_allclose(prior_corrected(p, np.full(4, 30.0)), p)
    counts = np.array([5.0, 10.0, 20.0, 40.0])
    np.testing.assert_allclose(prior_corrected(p, counts), prior_corrected(p, 3 * counts))


def test_a_class_that_training_has_not_seen():
    found = prior_corrected(np.array([[0.5, 0.5, 0.0]]), np.array([10.0, 5.0, 0.0]))
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 0]])


@pytest.mark.parametrize("repeats", [1, 2])
def test_the_correction_row_by_row(make_record, repeats):
    """Every row is divided by the class counts of the other folds of its repeat, and by nothing else."""
    record = make_record(repeats=repeats)
    found = prior_corrected_predictions(record)
    assert list(found.columns) == list(record.predictions.columns)
    assert set(found["sampler"]) == {PRIOR_CORRECTION}
    assert set(found["model"]) == {"svm", "cnn"}
    plain = record.predictions.query("sampler == 'none'").reset_index(drop=True)
    assert len(found) == len(plain)
    truth = plain.drop_duplicates(["repeat", "row"])
    for before, after in list(zip(plain.itertuples(), found.itertuples(), strict=True))[::17]:
        others = truth[(truth["repeat"] == before.repeat) & (truth["fold"] != before.fold)]["label"]
        adjusted = [getattr(before, f"p_{name}") / (others == code).mean() for code, name in enumerate(NAMES)]
        wanted = np.divide(adjusted, sum(adjusted))
        np.testing.assert_allclose([after.p_nv, after.p_bkl, after.p_mel], wanted, atol=1e-12)
        assert (after.row, after.label, after.predicted) == (before.row, before.label, wanted.argmax())


def test_ties_are_decided_by_what_was_more_probable_before():
    """A model that answers with the frequencies has nothing left after them but rounding."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        counts = rng.integers(1, 1000, 3).astype(float)
        cell = Cell("none", "dummy", 0, 0)
        rows = pd.DataFrame([counts / counts.sum()], columns=["p_nv", "p_bkl", "p_mel"])
        rows = rows.assign(**cell._asdict(), row=0, label=0, predicted=0)
        found = correct_priors(rows, NAMES, {cell: counts})
        np.testing.assert_allclose(found[["p_nv", "p_bkl", "p_mel"]].to_numpy(), 1 / 3)
        assert found["predicted"].tolist() == [counts.argmax()]


def test_scores_of_the_correction(make_record):
    record = make_record()
    scores = prior_corrected_scores(record)
    assert list(scores.columns) == list(record.scores.columns)
    assert set(scores["sampler"]) == {PRIOR_CORRECTION}
    assert set(zip(scores["model"], scores["fold"], strict=True)) == {
        (model, fold) for model in ("svm", "cnn") for fold in range(3)
    }


def test_nothing_is_corrected_without_none(make_record):
    assert prior_corrected_scores(make_record(keep=lambda cell: cell.sampler == "SMOTE")).empty
