import numpy as np
import pytest
from imblearn import combine, over_sampling, under_sampling
from sklearn.base import clone

from skinmnist.errors import InputError
from skinmnist.resampling.registry import (
    fewer_neighbours,
    find_parents,
    make_sampler,
    resample,
    with_class_codes,
)
from skinmnist.resampling.strategies import SAMPLERS

CATEGORICAL = {"SMOTEN", "SMOTENC"}
#: Samplers of this package; all others are imbalanced-learn's.
OURS: set[str] = set()


def clouds(counts, features=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    return rng.normal(labels[:, None] * 3.0, 1.0, (len(labels), features)), labels


def test_registry_is_all_of_imbalanced_learn():
    offered = {
        name
        for module in (over_sampling, under_sampling, combine)
        for name in module.__all__
        if hasattr(getattr(module, name), "fit_resample")
    }
    assert set(SAMPLERS) - OURS == offered - CATEGORICAL
    assert set(SAMPLERS) >= OURS


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_moves_towards_balance(name):
    rows, labels = clouds([120, 40, 30])
    sampler = make_sampler(name, seed=0)
    result = resample(sampler, rows, labels)
    new_rows = result.rows if result.rows is not None else rows[result.sample_indices]
    assert len(new_rows) == len(result.labels)
    assert np.mean(result.labels == 2) >= np.mean(labels == 2), "the rarest class lost ground"


@pytest.mark.parametrize("name", ["RandomOverSampler", "RandomUnderSampler"])
def test_copies_are_sample_indices_and_equal_the_plain_call(name):
    rows, labels = clouds([50, 9, 5])
    result = resample(make_sampler(name, 7), rows, labels)
    plain_rows, plain_labels = make_sampler(name, 7).fit_resample(rows, labels)
    assert result.rows is None
    np.testing.assert_array_equal(rows[result.sample_indices], plain_rows)
    np.testing.assert_array_equal(result.labels, plain_labels)


def test_smote_on_bytes_does_not_wrap():
    """Between 250 and 10 lies nothing near 16, which is what uint8 arithmetic makes of 10 - 250."""
    rows = np.array([[250], [10]] * 5 + [[128]] * 40, dtype=np.uint8)
    labels = np.array([0] * 10 + [1] * 40)
    made = resample(make_sampler("SMOTE", 0), rows, labels).rows[50:]
    assert made.min() >= 10
    assert made.max() <= 250
    assert len(np.unique(made)) > 5


@pytest.mark.parametrize("name", ["SMOTE", "ADASYN", "BorderlineSMOTE", "SVMSMOTE", "SMOTETomek", "SMOTEENN"])
def test_few_rows_lower_the_neighbours_and_say_so(name):
    sampler = make_sampler(name, 0)
    notes = fewer_neighbours(sampler, np.array([60, 4]))
    assert len(notes) == 1
    assert "lowered from 5 to 3, because the smallest class has 4 training rows" in notes[0]
    lowered = getattr(sampler, "smote", None) or sampler
    assert (lowered.get_params().get("k_neighbors") or lowered.get_params()["n_neighbors"]) == 3


def test_enough_rows_lower_nothing():
    assert fewer_neighbours(make_sampler("SMOTE", 0), np.array([60, 6])) == ()


def test_smote_of_three_rows_runs():
    rows, labels = clouds([30, 3])
    result = resample(make_sampler("SMOTE", 0), rows, labels)
    assert np.bincount(result.labels).tolist() == [30, 30]
    assert "lowered from 5 to 2" in result.notes[0]


@pytest.mark.parametrize("name", ["SMOTE", "ADASYN", "BorderlineSMOTE", "SMOTETomek", "SMOTEENN"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_a_class_of_one_row_stays_as_it_is_and_is_announced(name, dtype):
    rows, labels = clouds([40, 1, 12])
    rows = 20 * (rows - 3 * labels[:, None]) + 128  # One cloud: ADASYN fills in where classes mix.
    result = resample(make_sampler(name, 0), rows.clip(0, 255).astype(dtype), labels)
    counts = np.bincount(result.labels, minlength=3)
    assert counts[1] <= 1
    assert counts[2] > 12
    assert "classes with one training row stay unchanged" in " ".join(result.notes)


def test_where_only_one_row_is_rare_nothing_is_made():
    rows, labels = clouds([40, 1])
    result = resample(make_sampler("SMOTE", 0), rows, labels)
    np.testing.assert_array_equal(result.labels, labels)


def test_same_seed_same_rows():
    rows, labels = clouds([60, 12])
    first, again, other = (resample(make_sampler("SMOTE", seed), rows, labels).rows for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["SMOTETomek", "SMOTEENN", "SMOTE", "ADASYN"])
def test_settings_of_the_users_own_are_kept(name):
    rows, labels = clouds([90, 25, 15])
    sampler = make_sampler(name, 0).set_params(sampling_strategy={2: 30})
    found = resample(sampler, rows, labels)
    expected = clone(sampler).fit_resample(rows.astype(np.float32), labels)
    if name != "ADASYN":
        np.testing.assert_array_equal(found.labels, expected[1])
    assert np.sum(found.labels == 2) <= 35


@pytest.mark.parametrize("asked", ["auto", 0.5, 0.3])
@pytest.mark.parametrize("rare", [8, 15])
def test_kmeans_smote_lowers_its_threshold_where_a_class_is_rare(asked, rare):
    rows, labels = clouds([400, 40, rare], seed=1)
    rows = rows - 3 * labels[:, None]  # One cloud: no cluster is rich in any class but the first.
    sampler = make_sampler("KMeansSMOTE", 0).set_params(cluster_balance_threshold=asked)
    with pytest.raises(RuntimeError, match="No clusters"):
        clone(sampler).fit_resample(rows, labels)
    result = resample(sampler, rows, labels)
    assert (np.bincount(result.labels) >= 400).all()
    (note,) = result.notes
    assert f"cluster_balance_threshold lowered from {asked} to 0" in note


def test_kmeans_smote_says_where_no_threshold_would_do():
    rows, labels = clouds([60, 2])
    with pytest.raises(ValueError, match="KMeansSMOTE finds no cluster with more than 2 rows of one class"):
        resample(make_sampler("KMeansSMOTE", 0), rows, labels)


@pytest.mark.parametrize("name", sorted(CATEGORICAL))
def test_samplers_of_categories_are_refused(name):
    with pytest.raises(InputError, match="is for categorical columns; expected one for pixels"):
        make_sampler(name, 0)


CLASSES = ("nv", "bkl", "mel")


@pytest.mark.parametrize(
    ("sampler", "counts"),
    [
        (over_sampling.SMOTE(sampling_strategy={"mel": 50}), [90, 25, 50]),
        (over_sampling.RandomOverSampler(sampling_strategy={"bkl": 30, 2: 40}), [90, 30, 40]),
        (under_sampling.TomekLinks(sampling_strategy=["nv"]), None),
        (under_sampling.RandomUnderSampler(sampling_strategy={"nv": 20, "bkl": 10}), [20, 10, 15]),
        (combine.SMOTETomek(smote=over_sampling.SMOTE(sampling_strategy={"mel": 40})), None),
        (over_sampling.SMOTE(sampling_strategy="minority"), [90, 25, 90]),
    ],
)
def test_strategies_may_name_classes(sampler, counts):
    rows, labels = clouds([90, 25, 15])
    before = sampler.get_params()
    found = resample(with_class_codes(sampler, CLASSES), rows, labels)
    if counts is not None:
        assert np.bincount(found.labels).tolist() == counts
    assert sampler.get_params() == before


@pytest.mark.parametrize("strategy", [{"melanoma": 50}, ["mel", "x"]])
def test_strategies_of_unknown_classes_are_refused(strategy):
    sampler = under_sampling.RandomUnderSampler(sampling_strategy=strategy)
    with pytest.raises(InputError, match="expected classes among nv, bkl, mel"):
        with_class_codes(sampler, CLASSES)


def test_unknown_name():
    with pytest.raises(InputError, match="unknown sampler 'SMOT'; did you mean 'SMOTE'"):
        make_sampler("SMOT", 0)


@pytest.mark.parametrize("position", [0.1, 0.5, 0.8])
def test_parents_of_a_made_row_are_found(position):
    rows = np.random.default_rng(0).normal(size=(30, 50))
    child = rows[7] + position * (rows[21] - rows[7])
    found = find_parents(child, rows)
    assert found is not None
    assert {found.first, found.second} == {7, 21}
    at = found.position if found.first == 7 else 1 - found.position
    assert at == pytest.approx(position, abs=1e-9)


def test_rounding_to_grey_levels_is_forgiven():
    rows = np.random.default_rng(1).integers(0, 256, (20, 300)).astype(np.uint8)
    child = np.rint(rows[3] + 0.4 * (rows[11].astype(float) - rows[3])).astype(np.uint8)
    found = find_parents(child, rows)
    assert found is not None
    assert {found.first, found.second} == {3, 11}


def test_a_row_of_its_own_has_no_parents():
    rng = np.random.default_rng(2)
    assert find_parents(rng.normal(size=50), rng.normal(size=(30, 50))) is None


def test_every_smote_row_has_parents():
    rng = np.random.default_rng(3)
    rows, labels = rng.normal(size=(50, 20)), np.array([0] * 40 + [1] * 10)
    made = resample(make_sampler("SMOTE", 0), rows, labels).rows[50:]
    assert all(find_parents(child, rows[40:]) is not None for child in made)


def test_a_class_without_a_new_row_does_not_stop_the_others():
    """ADASYN rounds the new rows of each row to a whole number, so a class that lacks few rows gets none."""
    rows, labels = clouds([40, 39, 8], features=8)
    rows = rows - 2.8 * labels[:, None]
    with pytest.raises(ValueError, match="No samples"):
        make_sampler("ADASYN", 0).fit_resample(rows, labels)
    result = resample(make_sampler("ADASYN", 0), rows, labels)
    counts = np.bincount(result.labels)
    assert counts[1] == 39
    assert counts[2] > 30
    assert result.notes[0].startswith(
        "ADASYN: 1 of 2 rarer classes stay unchanged, because it can make no rows"
    )


def test_hardness_is_measured_in_as_many_folds_as_the_smallest_class_has_rows():
    rows, labels = clouds([40, 3])
    result = resample(make_sampler("InstanceHardnessThreshold", 0), rows, labels)
    assert result.notes == (
        "InstanceHardnessThreshold: cv lowered from 5 to 3, because the smallest class has 3 training rows",
    )
