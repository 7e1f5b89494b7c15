import numpy as np
import pytest

from skinmnist.models.clinical import ClinicalOdds

RNG = np.random.default_rng(0)
LABELS = RNG.choice(3, 600, p=[0.6, 0.3, 0.1])
PLACES = np.array(["face", "back", "foot"])[(LABELS + (RNG.random(600) < 0.4)) % 3]
AGES = np.clip(5 * np.rint((40 + 15 * LABELS + 10 * RNG.standard_normal(600)) / 5), 0, 85)


def frequencies(labels):
    return np.bincount(labels, minlength=3) / len(labels)


def test_words_alone_give_the_log_ratio_of_counted_frequencies():
    """With one column of words and hardly a penalty, the regression can only count."""
    odds = ClinicalOdds(3, C=1e6).fit({"place": PLACES}, LABELS).log_odds({"place": PLACES})
    for place in ("face", "back", "foot"):
        counted = np.log(frequencies(LABELS[place == PLACES]).clip(1e-12)) - np.log(frequencies(LABELS))
        found = odds[place == PLACES]
        assert (found == found[0]).all()
        often = counted > -5  # A class that never occurs at a place goes to minus infinity, slowly.
        np.testing.assert_allclose(found[0][often], counted[often], atol=0.02)


def test_the_prior_is_taken_out():
    odds = ClinicalOdds(3).fit({"age": AGES}, LABELS).log_odds({"age": AGES})
    given = np.exp(odds) * frequencies(LABELS)
    np.testing.assert_allclose(given.sum(axis=1), 1)
    np.testing.assert_allclose(given.mean(axis=0), frequencies(LABELS), atol=1e-3)


def test_age_bends():
    """Middle ages of another class than both ends: no straight line tells that."""
    ages = np.repeat(np.arange(0.0, 90.0, 5.0), 40)
    labels = ((ages > 25) & (ages < 60)).astype(int)
    odds = ClinicalOdds(2).fit({"age": ages}, labels).log_odds({"age": np.array([10.0, 45.0, 80.0, 120.0])})
    assert (odds[:, 1] > 0).tolist() == [False, True, False, False]
    assert np.isfinite(odds).all()


def test_nothing_known_says_nothing():
    columns = {"age": AGES.copy(), "place": PLACES.copy()}
    columns["age"][::7] = np.nan
    columns["place"][::5] = ""
    model = ClinicalOdds(3).fit(columns, LABELS)
    unseen = {"age": np.array([np.nan, np.nan, 70.0, 70.0]), "place": np.array(["", "moon", "", "moon"])}
    odds = model.log_odds(unseen)
    assert not odds[:2].any()
    assert odds[2].any()
    np.testing.assert_array_equal(odds[2], odds[3])


def test_that_something_is_unknown_says_nothing():
    """Ages that are missing in one class only must not give it away."""
    ages = np.where(LABELS == 2, np.nan, 50.0 + 5 * (np.arange(600) % 4))
    places = np.resize(["face", "back"], 600)
    odds = (
        ClinicalOdds(3)
        .fit({"age": ages, "place": places}, LABELS)
        .log_odds({"age": np.array([np.nan]), "place": np.array(["face"])})
    )
    assert np.abs(odds).max() < 0.5


@pytest.mark.parametrize(
    "columns",
    [
        {"age": np.full(6, np.nan)},
        {"age": np.full(6, 40.0)},
        {"place": np.full(6, "")},
        {"place": np.full(6, "face")},
        {"age": np.array([40, 50, np.nan, np.nan, np.nan, np.nan])},
    ],
    ids=["no age", "one age", "no place", "one place", "one class known"],
)
def test_columns_that_tell_nothing(columns):
    labels = np.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(ClinicalOdds(3).fit(columns, labels).log_odds(columns), 0, atol=1e-6)


def test_a_class_of_which_nothing_is_known_is_left_where_it_is():
    ages = np.array([20.0, 25, 30, 70, 75, 80, np.nan, np.nan])
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    odds = ClinicalOdds(3).fit({"age": ages}, labels).log_odds({"age": np.array([20.0])})
    assert odds[0, 0] > 0 > odds[0, 1]
    assert odds[0, 2] == 0
