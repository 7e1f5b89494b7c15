"""Given splits: what a file, a published name or a column holds out, and how damage is refused."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from skinmnist.datasets.decoding import decode, encode
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.given_splits import (
    FEWEST_PICTURES,
    PUBLISHED,
    GivenInfo,
    _own_parts,
    find_split,
    published_split,
    read_split,
    split_by_column,
)
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.run_folder.store import CellStore, Provenance
from skinmnist.experiment.splits import ALWAYS_TRAINED, LEFT_OUT, VALIDATION, training_rows
from skinmnist.models.spec import FeatureSettings, ModelSpec

N = 60
IDS = [f"ISIC_{row:07d}" for row in range(N)]
#: Every third picture is of class b, and two pictures show a lesion.
PARTS = ["train"] * 36 + ["val"] * 12 + ["test"] * 12


@pytest.fixture
def table():
    rows = np.arange(N)
    return PixelTable(
        pixels=np.random.default_rng(0).integers(0, 256, (N, 12), dtype=np.uint8),
        labels=(rows % 6 >= 4).astype(np.int64),
        class_names=("a", "b"),
        shape=(2, 2, 3),
        lesion_ids=np.array([f"L{row // 2}" for row in rows]),
        image_ids=np.array(IDS),
        sources={"dataset": np.array(["here", "there", "yonder"])[rows // 2 * 2 * 3 // N]},
        name="mine",
    )


def written(path, rows, header="image_id,split"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def test_train_val_and_test_are_as_the_file_says_in_any_order(table, tmp_path):
    rows = list(zip(IDS, PARTS, strict=True))
    given = find_split(table, written(tmp_path / "split.csv", rows[::-1]))
    [fold_of] = given.fold_of
    assert np.flatnonzero(fold_of == 0).tolist() == [*range(48, 60)]
    assert np.flatnonzero(fold_of == VALIDATION).tolist() == [*range(36, 48)]
    assert np.flatnonzero(training_rows(fold_of, 0)).tolist() == [*range(36)]
    assert (given.split, given.groups, given.origin) == ("given holdout", ("test",), "split.csv")
    unnamed = find_split(table, written(tmp_path / "rows.csv", [[p] for p in PARTS], "split"))
    np.testing.assert_array_equal(unnamed.fold_of, given.fold_of)
    spelt = {"train": "Training", "val": "validation", "test": " TEST "}
    aliases = written(tmp_path / "words.csv", [(name, spelt[part]) for name, part in rows])
    np.testing.assert_array_equal(find_split(table, aliases).fold_of, given.fold_of)


def test_repeats_and_rows(table, tmp_path):
    path = written(tmp_path / "split.csv", zip(IDS, PARTS, strict=True))
    rows = np.arange(0, N, 2)
    given = find_split(table, path, 3, rows)
    assert len(given.fold_of) == 3
    assert (given.fold_of == given.fold_of[0]).all()
    assert (given.fold_of[0, 1::2] == LEFT_OUT).all()
    np.testing.assert_array_equal(given.fold_of[0, rows], find_split(table, path).fold_of[0, rows])


def test_folds_are_as_the_file_says(table, tmp_path):
    folds = [(name, [10, 9, "x"][row // 6 % 3]) for row, name in enumerate(IDS)]
    given = find_split(table, written(tmp_path / "folds.csv", folds, "image_id,fold"))
    assert (given.split, given.folds, given.groups) == ("given", 3, ("9", "10", "x"))
    assert given.fold_of[0, ::6].tolist() == [1, 0, 2] * 3 + [1]


def test_lesions_on_both_sides_are_counted(table, tmp_path):
    parts = [*PARTS]
    parts[47], parts[48], parts[50], parts[52] = "train", "train", "train", ""
    given = find_split(table, written(tmp_path / "split.csv", zip(IDS, parts, strict=True)))
    info = GivenInfo.of_folds(given, table)
    [test] = info.held_out
    seen = [row for row in range(N) if parts[row] == "test" and parts[row ^ 1] == "train"]
    assert seen == [49, 51]
    assert (test.pictures, test.seen_pictures, test.seen_lesions) == (9, 2, 2)
    assert info.notes[0].startswith(
        "WARNING: In the split split.csv, 2 of 9 held-out pictures show a lesion that is"
    )
    assert decode(GivenInfo, encode(info)) == info
    unknown = GivenInfo.of_folds(given, replace(table, lesion_ids=None))
    assert unknown.notes == ()
    assert [part.lesions for part in unknown.parts] == [None] * 3


def damaged(rows):
    """Return every kind of damage as (rows, header, words of the error)."""
    header = "image_id,split"
    return {
        "missing": (rows[1:], header, "has no row for 'ISIC_0000000' of table 'mine'"),
        "duplicated": ([*rows, (IDS[3], "test")], header, "received image_id 'ISIC_0000003' as 'test'"),
        "unknown": ([*rows, ("X1", "test")], header, "names 'X1', not in table 'mine'"),
        "word": ([(IDS[0], "tests"), *rows[1:]], header, "row 0 .line 2.*received 'tests'"),
        "no test": ([(name, "train") for name, _ in rows], header, "part 'test' has no pictures"),
        "no train": ([(name, "test") for name, _ in rows], header, "part 'train' has no pictures"),
        "no column": (rows, "image_id,part", "expected one column split"),
        "both columns": ([(*row, 1) for row in rows], "image_id,split,fold", "expected one column split"),
        "cells": ([(*rows[0], "more"), *rows[1:]], header, "received 3 cells; expected 2"),
        "no rows": ([], header, "no rows"),
        "rows": ([[part] for _, part in rows[1:]], "split", "has 59 rows and no image_id"),
        "one fold": ([(name, 1) for name, _ in rows], "image_id,fold", "has 1 folds; expected 2"),
        "many folds": ([(n, i) for i, (n, _) in enumerate(rows * 2)], "image_id,fold", "received image_id"),
        "quotes": ([('"x', "test")], header, "cannot be read as CSV"),
    }


@pytest.mark.parametrize("kind", damaged(list(zip(IDS, PARTS, strict=True))))
def test_damaged_files_are_refused(kind, table, tmp_path):
    rows, header, words = damaged(list(zip(IDS, PARTS, strict=True)))[kind]
    with pytest.raises(InputError, match=words):
        find_split(table, written(tmp_path / "split.csv", rows, header))


def test_a_class_must_be_left_to_train_on(table, tmp_path):
    parts = ["test" if label else "train" for label in table.labels]
    with pytest.raises(InputError, match="no picture of b is left to train on when 'test' is held out"):
        find_split(table, written(tmp_path / "split.csv", zip(IDS, parts, strict=True)))
    flipped = ["train" if label else "test" for label in table.labels]
    flipped[0] = "train"
    given = find_split(table, written(tmp_path / "split.csv", zip(IDS, flipped, strict=True)))
    assert given.notes == (
        "the held-out part 'test' has no pictures of b: its scores are over the other classes",
    )


def test_ids_are_needed_where_the_file_has_them(table, tmp_path):
    path = written(tmp_path / "split.csv", zip(IDS, PARTS, strict=True))
    with pytest.raises(InputError, match="needs image_ids, which table 'mine' does not have"):
        find_split(replace(table, image_ids=None), path)


def collection(**changed):
    """Return a table with the ids of HAM10000, one pixel each."""
    n = sum(PUBLISHED["dermamnist"])
    parts = {
        "pixels": np.zeros((n, 3), np.uint8),
        "labels": np.arange(n) % 2,
        "class_names": ("a", "b"),
        "shape": (1, 1, 3),
        "image_ids": np.array([f"ISIC_{24306 + row:07d}" for row in range(n)]),
    }
    return PixelTable(**(parts | changed))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_splits_have_their_counts(name):
    given = published_split(name, collection())
    [fold_of] = given.fold_of
    counts = training_rows(fold_of, 0).sum(), (fold_of == VALIDATION).sum(), (fold_of == 0).sum()
    assert counts == PUBLISHED[name]
    ids = collection().image_ids
    for damage in (ids[::-1][:100], np.where(ids == ids[0], ids[1], ids), np.char.add(ids, "x")):
        n = len(damage)
        other = collection(image_ids=damage, labels=np.arange(n) % 2, pixels=np.zeros((n, 3), np.uint8))
        with pytest.raises(InputError, match="are published; expected a table with all pictures of HAM10000"):
            find_split(other, name)
    with pytest.raises(InputError, match=f"the split {name} needs image_ids"):
        find_split(collection(image_ids=None), name)


def test_published_splits_are_those_of_the_real_table(real_tables):
    from skinmnist.datasets.hmnist import load_hmnist

    table = load_hmnist(real_tables / "hmnist_8_8_RGB.csv")
    for name, seen in (("dermamnist", 698), ("dermamnist-c", 0)):
        given = find_split(table, name)
        assert GivenInfo.of_folds(given, table).held_out[0].seen_pictures == seen
    # Five pictures more than Abhishek et al. count: known pairs of lesion ids are joined here.
    path = real_tables / "dermamnist_c_split.csv"
    np.testing.assert_array_equal(find_split(table, path).fold_of, find_split(table, "dermamnist-c").fold_of)


def test_groups_are_left_out_in_turn(table):
    given = find_split(table, "column:dataset")
    assert (given.split, given.groups) == ("given", ("here", "there", "yonder"))
    np.testing.assert_array_equal(np.array(given.groups)[given.fold_of[0]], table.sources["dataset"])
    assert given.notes == ()


def test_lesions_are_kept_together_and_what_cannot_be_held_out_is_said(table):
    words = np.where(np.arange(N) < 32, "here", "there")
    words[0], words[2:4], words[4:8] = "there", "", "tiny"
    given = find_split(replace(table, sources={"dataset": words}), "column:dataset")
    [fold_of] = given.fold_of
    assert given.groups == ("here", "there")
    # Of lesion 0, one picture is here and one there: of equals, the first by the alphabet.
    assert fold_of[:2].tolist() == [0, 0]
    assert (fold_of[2:4] == LEFT_OUT).all()
    assert (fold_of[4:8] == ALWAYS_TRAINED).all()
    assert given.notes[:2] == (
        "2 pictures are of unknown dataset left out of this run",
        "1 picture is moved to the dataset of most pictures of the same lesion",
    )
    assert (
        f"dataset 'tiny' is never held out: it has fewer than {FEWEST_PICTURES} pictures (4)" in given.notes
    )
    for fold in range(2):
        train = training_rows(fold_of, fold)
        assert train[4:8].all()
        assert not {*table.lesion_ids[train]} & {*table.lesion_ids[fold_of == fold]}


def test_a_group_with_all_of_a_class_is_always_trained_on(table):
    words = np.where(table.labels == 1, "clinic", "east")
    words[:6] = "clinic"
    given = find_split(replace(table, lesion_ids=None, sources={"site": words}), "column:site")
    assert (given.split, given.groups) == ("given holdout", ("east",))
    assert given.notes == (
        "site 'clinic' is never held out: no other group has a picture of b to train on",
        "the held-out part 'east' has no pictures of b: its scores are over the other classes",
    )


@pytest.mark.parametrize("rows", [None, np.arange(40), np.arange(0, N, 2)], ids=["all", "first", "some"])
@pytest.mark.parametrize("way", ["column", "file", "own"])
def test_holdouts_define_every_fold_of_their_protocol(table, tmp_path, way, rows):
    words = np.where((table.labels == 1) | (np.arange(N) >= 30), "train", "test")
    table = replace(table, lesion_ids=None, sources={"site": words}, parts=words)
    path = written(tmp_path / "split.csv", [[word] for word in words], "split")
    given = find_split(table, {"column": "column:site", "file": path, "own": "own"}[way], rows=rows)
    [fold_of], part = given.fold_of, slice(None) if rows is None else rows
    assert {*fold_of[part].tolist()} == {*range(given.folds)}
    np.testing.assert_array_equal(fold_of[part] == 0, words[part] == "test")
    assert given.folds == round(1 / np.mean(words[part] == "test"))


@pytest.mark.parametrize("way", ["column", "file", "own", "published"])
def test_folds_that_are_passed_on_define_those_of_their_protocol(table, tmp_path, way):
    words = np.where((table.labels == 1) | (np.arange(N) >= 30), "train", "test")
    table = replace(table, lesion_ids=None, sources={"site": words}, parts=words)
    given = {
        "column": lambda: split_by_column("site", table),
        "file": lambda: read_split(
            written(tmp_path / "split.csv", [[word] for word in words], "split"), table
        ),
        "own": lambda: _own_parts(table),
        "published": lambda: published_split("dermamnist", collection()),
    }[way]()
    assert {*given.fold_of[given.fold_of != VALIDATION].tolist()} == {*range(given.folds)}
    assert find_split(table, given) is given


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("column:datasets", "did you mean 'dataset'"),
        ("column:age", "expected one of dataset"),
        ("dermamnst", "did you mean 'dermamnist'"),
        ("patient", "expected lesion, image, holdout, dermamnist, dermamnist-c, column:NAME or a CSV"),
        ("nowhere.csv", "does not exist"),
    ],
)
def test_what_is_no_split_is_refused(split, words, table):
    with pytest.raises(InputError, match=words):
        find_split(table, split)


def test_columns_that_cannot_part_a_table(table):
    one = np.full(N, "here")
    with pytest.raises(InputError, match="has 1 groups, of which 0 can be left out"):
        find_split(replace(table, sources={"site": one}), "column:site")
    with pytest.raises(InputError, match="has no such columns; expected metadata"):
        find_split(replace(table, sources={}), "column:site")
    with pytest.raises(InputError, match="received 0 repeats"):
        find_split(table, "column:dataset", 0)


class Witness(DummyClassifier):
    """A classifier that remembers what it was given."""

    def fit(self, X, y, validation_data):
        Witness.seen = len(X), validation_data
        return super().fit(X, y)


def test_val_monitors_is_answered_apart_and_never_reported(table, tmp_path):
    path = written(tmp_path / "split.csv", zip(IDS, PARTS, strict=True))
    spec = ModelSpec(
        "witness", lambda setting: Witness(), FeatureSettings(pixel_type="uint8"), validation_share=0.2
    )
    plan = make_plan(table, ["none"], {"witness": spec}, 5, 2, path, 0, None)
    assert [cell[2:] for cell in plan.cells] == [(0, 0), (1, 0)]
    result = fit_cell(plan.cells[0], table, plan.task)
    n_trained, (rows, labels) = Witness.seen
    assert n_trained == 36
    np.testing.assert_array_equal(rows, table.pixels[36:48])
    np.testing.assert_array_equal(labels, table.labels[36:48])
    assert result.rows.tolist() == [*range(48, 60)]
    np.testing.assert_array_equal(result.validation.labels, table.labels[36:48])
    assert result.validation.probabilities.shape == (12, 2)
    store = CellStore(tmp_path, Provenance.of_table("me", {}, table, plan.task.folds))
    store.save(result)
    read = store.load(plan.cells[0])
    np.testing.assert_array_equal(read.validation.probabilities, result.validation.probabilities)
