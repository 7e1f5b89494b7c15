"""Look-alikes and what a split shares, against pairs that were made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from skinmnist.datasets.near_duplicates import find_near_duplicates
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.run_folder.run_info import SplitFacts
from skinmnist.experiment.splits import LEFT_OUT, assign_folds


def table_of(pictures, lesion_ids=None):
    n, *shape = pictures.shape
    labels = np.arange(n) % 2
    return PixelTable(pictures.reshape(n, -1), labels, ("a", "b"), tuple(shape), lesion_ids)


@pytest.fixture
def noise():
    """Pictures with nothing in common; coarse blocks, so that small versions keep their contrast."""
    blocks = np.random.default_rng(0).integers(20, 220, (40, 4, 4, 3))
    return blocks.repeat(7, axis=1).repeat(7, axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: np.rot90(picture),
        lambda picture: np.rot90(picture[:, ::-1], 3),
        lambda picture: picture // 2 + 30,
        lambda picture: picture + np.random.default_rng(1).integers(0, 9, picture.shape, dtype=np.uint8),
    ],
    ids=["copy", "turned", "mirrored and turned", "darker", "noisy"],
)
def test_a_changed_copy_is_found_and_nothing_else(noise, change):
    noise[31] = change(noise[4])
    np.testing.assert_array_equal(find_near_duplicates(table_of(noise), np.arange(40)), [[4, 31]])


def test_only_the_rows_asked_for_are_compared(noise):
    noise[31] = noise[4]
    assert len(find_near_duplicates(table_of(noise), np.delete(np.arange(40), 4))) == 0


def test_pairs_do_not_depend_on_the_order_of_rows(noise):
    noise[31], noise[7] = noise[4], noise[4]
    found = find_near_duplicates(table_of(noise), np.random.default_rng(0).permutation(40))
    np.testing.assert_array_equal(found, [[4, 7], [4, 31], [7, 31]])


@pytest.mark.parametrize("shape", [(5, 9, 3), (3, 3, 1), (28, 28, 1)])
def test_any_shape(shape):
    pictures = np.random.default_rng(0).integers(0, 256, (12, *shape), dtype=np.uint8)
    pictures[5] = pictures[2, ::-1, ::-1]
    assert [2, 5] in find_near_duplicates(table_of(pictures), np.arange(12)).tolist()


def test_pictures_without_contrast_are_like_nothing():
    assert len(find_near_duplicates(table_of(np.full((6, 8, 8, 3), 77, np.uint8)), np.arange(6))) == 0


def test_what_a_split_shares(noise):
    noise[31], noise[22] = noise[4], noise[5]
    lesions = np.arange(40)
    lesions[22] = 5
    table = table_of(noise, lesions.astype(str))
    folds = np.arange(40) % 4
    found = SplitFacts.of_split(table, folds)
    assert (found.shared_lesions, found.shared_pictures) == (1, 2)
    assert (found.alike_pairs, found.alike_across, found.alike_rows) == (2, 1, ((4, 31),))
    unknown = SplitFacts.of_split(replace(table, lesion_ids=None), folds)
    assert (unknown.shared_lesions, unknown.alike_across) == (None, 2)
    folds[[31, 22]] = LEFT_OUT
    assert (
        SplitFacts.of_split(table, folds).shared_lesions == SplitFacts.of_split(table, folds).alike_pairs == 0
    )


def test_large_tables_are_not_searched(noise, monkeypatch):
    monkeypatch.setattr("skinmnist.experiment.run_folder.run_info.MOST_ROWS", 39)
    assert SplitFacts.of_split(table_of(noise), np.arange(40) % 4).alike_pairs is None


def test_on_the_real_table(real_tables):
    """What is alike is of one lesion, but for a few pairs."""
    from skinmnist import load_hmnist

    table = load_hmnist(real_tables / "hmnist_8_8_RGB.csv")
    pairs = find_near_duplicates(table, np.arange(len(table)))
    same = table.lesion_ids[pairs[:, 0]] == table.lesion_ids[pairs[:, 1]]
    assert (len(pairs), int(same.sum())) == (114, 111)
    assert SplitFacts.of_split(table, assign_folds(table, 5)[0]).shared_lesions == 0
