from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)

from skinmnist.datasets.table import PixelTable, sample_rows
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import Task, fit_cell
from skinmnist.experiment.grid import resolve_samplers
from skinmnist.experiment.splits import (
    LEFT_OUT,
    GivenFolds,
    assign_folds,
    choose_split,
    draw_lesions,
    inner_folds,
)
from skinmnist.experiment.training import fit_model
from skinmnist.models.spec import FeatureSettings, ModelSpec, Setting
from skinmnist.resampling.registry import Resampler
from skinmnist.text import one_line


@pytest.mark.parametrize("split", ["lesion", "image"])
@pytest.mark.parametrize("repeats", [1, 3])
def test_every_row_is_held_out_once_per_repeat(lesions, split, repeats):
    folds = assign_folds(lesions, 5, repeats, split, seed=0)
    assert folds.shape == (repeats, len(lesions))
    for fold_of in folds:
        assert set(fold_of) == set(range(5))


def test_no_lesion_is_in_two_folds(lesions):
    for fold_of in assign_folds(lesions, 5, 4, "lesion", seed=2):
        homes = {}
        for lesion, fold in zip(lesions.lesion_ids, fold_of, strict=True):
            assert homes.setdefault(lesion, fold) == fold


def test_a_split_by_image_parts_lesions(lesions):
    fold_of = assign_folds(lesions, 5, 1, "image", seed=0)[0]
    parted = [len(set(fold_of[lesions.lesion_ids == lesion])) > 1 for lesion in np.unique(lesions.lesion_ids)]
    assert sum(parted) > 10


@pytest.mark.parametrize("split", ["lesion", "image"])
def test_stratified(lesions, split):
    fold_of = assign_folds(lesions, 5, 1, split, seed=0)[0]
    counts = np.array([np.bincount(lesions.labels[fold_of == fold], minlength=7) for fold in range(5)])
    assert (counts > 0).all()
    majority = counts[:, 4] / counts.sum(axis=1)
    np.testing.assert_allclose(majority, lesions.class_counts[4] / len(lesions), atol=0.05)


def test_seed_and_repeat_decide(lesions):
    first, again = (assign_folds(lesions, 5, 2, "lesion", seed=0) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], assign_folds(lesions, 5, 1, "lesion", seed=1)[0])
    np.testing.assert_array_equal(first[:1], assign_folds(lesions, 5, 1, "lesion", seed=0))


def test_rows_that_take_no_part(lesions):
    rows = sample_rows(lesions, 200, random_state=1)
    fold_of = assign_folds(lesions, 3, 1, "lesion", 0, rows)[0]
    np.testing.assert_array_equal(np.flatnonzero(fold_of != LEFT_OUT), rows)


def few(lesion_ids):
    labels = np.array([0] * 8 + [1] * 4)
    return PixelTable(np.zeros((12, 3), np.uint8), labels, ("a", "b"), (1, 1, 3), lesion_ids, name="few")


def test_too_few_rows_are_named():
    sentence = r"class 'b' \(label 1\) of table 'few' has 4 rows, fewer than the 5 folds; use --folds 4"
    with pytest.raises(InputError, match=sentence):
        assign_folds(few(None), 5, 1, "image", 0)


def test_too_few_lesions_are_named():
    lesion_ids = np.array([f"l{i}" for i in range(8)] + ["m", "m", "m", "n"])
    with pytest.raises(
        InputError, match=r"class 'b' \(label 1\) of table 'few' has 2 lesions, fewer than the 3 folds"
    ):
        assign_folds(few(lesion_ids), 3, 1, "lesion", 0)


@pytest.mark.parametrize(("n_folds", "repeats"), [(1, 1), (101, 1), (5, 0)])
def test_impossible_numbers(lesions, n_folds, repeats):
    with pytest.raises(InputError, match="expected"):
        assign_folds(lesions, n_folds, repeats, "lesion", 0)


def test_choice_of_split(lesions):
    assert choose_split(lesions, None) == "lesion"
    assert choose_split(lesions, "image") == "image"
    assert choose_split(few(None), None) == "image"
    with pytest.raises(InputError, match="has no lesion ids; name its metadata"):
        choose_split(few(None), "lesion")
    with pytest.raises(InputError, match="received split 'patient'"):
        choose_split(lesions, "patient")


@pytest.mark.parametrize("split", ["lesion", "image", "holdout"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("rows", [None, np.arange(0, 1080, 2)])
def test_copies_stay_in_one_fold(split, known, rows, lesions):
    """A table that was oversampled before, and of which copies have lesion ids of their own."""
    chosen = np.concatenate([np.arange(360), np.random.default_rng(0).integers(0, 360, 720)])
    table = lesions.take(chosen)
    ids = table.lesion_ids.astype("U60")
    ids[360:720] = [f"copy {row}" for row in range(360)]
    table = replace(table, lesion_ids=ids if known else None)
    fold_of = assign_folds(table, 3, 1, split, 0, rows, keep_copies=True)[0]
    homes = {}
    for pixels, lesion, fold in zip(table.pixels, ids, fold_of, strict=True):
        if fold != LEFT_OUT:
            assert homes.setdefault(pixels.tobytes(), fold) == fold
            assert not known or split == "image" or homes.setdefault(lesion, fold) == fold
    counts = np.bincount(fold_of[fold_of != LEFT_OUT])
    assert counts.min() > 0.6 * counts.mean()


def test_a_table_without_copies_is_split_as_before(lesions):
    for split in ("lesion", "image"):
        kept = assign_folds(lesions, 4, 2, split, 5, keep_copies=True)
        np.testing.assert_array_equal(kept, assign_folds(lesions, 4, 2, split, 5))


def test_real_lesions_stay_together(real_tables):
    from skinmnist import load_hmnist

    table = load_hmnist(real_tables / "hmnist_8_8_RGB.csv")
    fold_of = assign_folds(table, 5, 1, "lesion", seed=0)[0]
    homes = {}
    for lesion, fold in zip(table.lesion_ids, fold_of, strict=True):
        assert homes.setdefault(lesion, fold) == fold


BYTES = FeatureSettings(pixel_type="uint8")


@pytest.mark.parametrize("folds", [2, 3, 10])
def test_lesions_stay_together_and_every_class_is_kept(lesions, folds):
    for kept, left_out in inner_folds(lesions.labels, lesions.lesion_ids, folds, 0):
        assert set(kept) | set(left_out) == set(range(len(lesions)))
        assert not set(lesions.lesion_ids[kept]) & set(lesions.lesion_ids[left_out])
        assert set(lesions.labels[kept]) == set(range(7))


@pytest.mark.parametrize("known", [True, False])
def test_inner_folds_share_out_the_rows_of_every_class(lesions, known):
    units = lesions.lesion_ids if known else None
    largest = np.unique(lesions.lesion_ids, return_counts=True)[1].max() if known else 1
    parts = [left_out for _, left_out in inner_folds(lesions.labels, units, 2, 3)]
    counts = np.array([np.bincount(lesions.labels[part], minlength=7) for part in parts])
    assert np.abs(counts[0] - counts[1]).max() <= 2 * largest
    again = [left_out for _, left_out in inner_folds(lesions.labels, units, 2, 3)]
    other = [left_out for _, left_out in inner_folds(lesions.labels, units, 2, 4)]
    assert all(np.array_equal(*both) for both in zip(parts, again, strict=True))
    assert not all(np.array_equal(*both) for both in zip(parts, other, strict=True))
    assert not any(part.flags.writeable for part in parts)


@pytest.mark.parametrize("seed", [10, 45, 62])
def test_inner_folds_score_every_class_though_patients_mix_them(seed):
    """A stratified split gives the largest patient a half, and the other half all patients of a class."""
    rng = np.random.default_rng(seed)
    patients = np.arange(9).repeat([40, 9, 8, 7, 6, 5, 4, 3, 2])
    labels = rng.choice(3, len(patients), p=[0.6, 0.3, 0.1])
    labels[[40, 49]] = 3
    stratified = StratifiedGroupKFold(2, shuffle=True, random_state=seed).split(labels, labels, patients)
    assert not all(len(set(labels[inner])) == 4 for inner, _ in stratified)
    found = inner_folds(labels, patients.astype(str), 2, seed)
    for part in (*(inner for inner, _ in found), np.concatenate([outer for _, outer in found])):
        assert set(labels[part]) == set(range(4))
    assert not any(set(patients[inner]) & set(patients[outer]) for inner, outer in found)


def test_classes_that_no_split_by_patient_can_separate_are_refused():
    with pytest.raises(ValueError, match=r"a class shares its lesions .*; remove the class$"):
        inner_folds(np.array([0, 0, 1, 1, 2, 2]), np.array(list("abbcac")), 2, 0)


def test_a_class_of_one_lesion_is_refused():
    with pytest.raises(ValueError, match="a class has fewer than two of them; use more folds"):
        inner_folds(np.array([0, 0, 0, 1, 1]), np.array(list("aabcc")), 2, 0)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_of_every_class_is_drawn_in_whole_lesions(lesions, share, known):
    units = lesions.lesion_ids if known else np.arange(len(lesions))
    sample_indices = draw_lesions(lesions.labels, units if known else None, share, 3)
    left = np.setdiff1d(np.arange(len(lesions)), sample_indices)
    assert not set(units[sample_indices]) & set(units[left])
    for code in range(7):
        own = units[lesions.labels == code]
        assert len(np.unique(units[sample_indices][lesions.labels[sample_indices] == code])) == int(
            share * len(np.unique(own))
        )
        assert code in lesions.labels[left]


class Witness(DummyClassifier):
    """A classifier that remembers what it was given."""

    def fit(self, X, y, validation_data):
        Witness.seen = X, y, validation_data
        return super().fit(X, y)


def test_too_few_lesions_to_validate_on_any_are_refused():
    spec = ModelSpec("witness", lambda setting: Witness(), BYTES, validation_share=0.1)
    rows, labels = np.zeros((18, 12), np.uint8), np.repeat([0, 1], 9)
    setting = Setting((2, 2, 3), 2, 18, 0)
    with pytest.raises(ValueError, match="too few lesions to validate on 10%"):
        fit_model(spec, Resampler("none"), setting, rows, labels, None)


def test_the_validation_set_is_split_off_before_the_sampler_sees_it(lesions):
    spec = ModelSpec("witness", lambda setting: Witness(), BYTES, validation_share=0.2)
    samplers = resolve_samplers(["RandomOverSampler"])
    folds = assign_folds(lesions, 5, 1, "lesion", 0)
    task = Task(folds, True, {"witness": spec}, samplers, seed=0)
    result = fit_cell(Cell("RandomOverSampler", "witness", 0, 2), lesions, task)
    rows, labels, (validation, validation_labels) = Witness.seen

    lesion_of = {pixels.tobytes(): i for i, pixels in zip(lesions.lesion_ids, lesions.pixels, strict=True)}
    held_out = set(lesions.lesion_ids[folds[0] == 2])
    trained, seen = ({lesion_of[row.tobytes()] for row in part} for part in (rows, validation))
    assert trained | seen == set(lesions.lesion_ids) - held_out
    assert not trained & seen
    assert 0.15 < len(seen) / len(trained | seen) <= 0.2
    assert len(set(np.bincount(labels))) == 1
    assert len(set(np.bincount(validation_labels))) > 1
    assert result.timing.rows == np.count_nonzero(folds[0] != 2) - len(validation)
    assert result.counts_before.sum() == result.timing.rows


def small_table(n=60):
    """Three classes in turn, and a lesion for every two pictures."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, 4), dtype=np.uint8)
    lesions = np.repeat(np.arange(n // 2), 2).astype(str)
    return PixelTable(pixels, np.arange(n) % 3, ("a", "b", "c"), (2, 2, 1), lesions)


def pairs_of(given):
    """Return the training and test rows that cells of given folds use."""
    held_out = range(given.folds) if given.split == "given" else [0]
    return [
        (np.flatnonzero((fold_of != fold) & (fold_of != LEFT_OUT)), np.flatnonzero(fold_of == fold))
        for fold_of in given.fold_of
        for fold in held_out
    ]


SPLITTERS = {
    "given": [
        StratifiedKFold(3),
        RepeatedStratifiedKFold(n_splits=2, n_repeats=3, random_state=1),
        GroupKFold(4),
        PredefinedSplit(np.arange(60) // 3 % 4),
    ],
    "given holdout": [
        ShuffleSplit(4, test_size=0.2, random_state=0),
        GroupShuffleSplit(2, test_size=0.3, train_size=0.4, random_state=0),
        TimeSeriesSplit(4),
        PredefinedSplit(np.arange(60) // 3 % 5 - 1),  # Some rows are always trained on.
    ],
}


@pytest.mark.parametrize(
    ("split", "splitter"), [(split, one) for split, some in SPLITTERS.items() for one in some]
)
def test_given_folds_are_those_of_the_splitter(split, splitter):
    table = small_table()
    given = GivenFolds.from_cv(splitter, table)
    groups = table.lesion_ids if "Group" in type(splitter).__name__ else None
    wanted = list(splitter.split(table.pixels, table.labels, groups))
    assert (given.split, given.origin) == (split, one_line(splitter)[:200])
    assert given.fold_of.max() == given.folds - 1
    for (train, test), (wanted_train, wanted_test) in zip(pairs_of(given), wanted, strict=True):
        np.testing.assert_array_equal(train, np.sort(wanted_train))
        np.testing.assert_array_equal(test, np.sort(wanted_test))
    from_pairs = GivenFolds.from_cv(iter(wanted), table)
    np.testing.assert_array_equal(from_pairs.fold_of, given.fold_of)


def test_given_parts_hold_out_the_share_that_they_are():
    given = GivenFolds.from_cv(ShuffleSplit(2, test_size=0.2, random_state=0), small_table())
    assert given.folds == 5, "tests of differences count on 1 / (folds - 1) test rows a training row"


def test_an_open_random_state_follows_the_seed():
    splitter, table = StratifiedKFold(3, shuffle=True), small_table()
    one, same, other = (GivenFolds.from_cv(splitter, table, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.fold_of, same.fold_of)
    assert not np.array_equal(one.fold_of, other.fold_of)
    assert splitter.random_state is None, "the user's own object stays as it is"


def test_given_folds_of_a_part_of_the_rows():
    table, rows = small_table(), np.arange(30, 60)
    given = GivenFolds.from_cv(StratifiedKFold(2), table, rows)
    np.testing.assert_array_equal(np.flatnonzero(given.fold_of[0] != LEFT_OUT), rows)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (StratifiedKFold, "the class StratifiedKFold as cv; expected an object: StratifiedKFold()"),
        ("5-fold", "expected a number of folds, a scikit-learn splitter"),
        (LeaveOneOut(), "received 60 folds"),
        ([], "no pair"),
        ([(np.arange(30), np.arange(29, 60))], "row 29 is in both the training and the test part of pair 0"),
        ([(np.arange(30), np.arange(30, 61))], "names rows 30 to 60; expected each row once, from 0 to 59"),
        ([(np.arange(30), [])], "the test part of pair 0 of the pairs of cv is empty"),
        ([(np.arange(0, 60, 3), [1])], "has no row of class 1"),
        ([3], "expected two lists of row numbers"),
        (TimeSeriesSplit(80), "cannot split table 'table'"),
    ],
)
def test_folds_that_are_none(cv, message, monkeypatch):
    monkeypatch.setattr("skinmnist.experiment.splits.MOST_FOLDS", 50)
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        GivenFolds.from_cv(cv, small_table())


@pytest.mark.parametrize(
    "pair",
    [
        (np.arange(20), np.arange(20, 31)),
        (np.arange(20), [1.5]),
        (np.arange(20), np.ones(60, bool)),
        ([[1], [2, 3]], [0]),
        3,
    ],
)
def test_pairs_beyond_the_rows_in_use_are_refused(pair):
    with pytest.raises(InputError, match="pair in cv with invalid row numbers; expected 0 to 29"):
        GivenFolds.from_cv([pair], small_table(), np.arange(30, 60))
