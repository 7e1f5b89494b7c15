"""Look-alikes, second views and what a split shares, against pairs made by hand and naive searches."""

from dataclasses import replace

import numpy as np
import pytest

from skinmnist.datasets import near_duplicates
from skinmnist.datasets.near_duplicates import (
    STANDS_OUT,
    _fits,
    _gaussian,
    _standing_out,
    correlated_pairs,
    find_near_duplicates,
    find_second_views,
    first_copies,
    lesion_likeness,
    score_pairs,
)
from skinmnist.datasets.synthetic.lesions import make_lesions
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.audit import LesionFit, SplitFacts
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
    monkeypatch.setattr("skinmnist.experiment.audit.MOST_ROWS", 39)
    assert SplitFacts.of_split(table_of(noise), np.arange(40) % 4).alike_pairs is None


@pytest.mark.parametrize("most", [10, 1000])
def test_copies_and_their_labels_are_counted_at_any_size(most, noise, monkeypatch):
    monkeypatch.setattr("skinmnist.experiment.audit.MOST_ROWS", most)
    noise[[10, 20, 21]] = noise[0]  # 21 has the other label.
    noise[[30, 31]] = 77  # Of one colour: they show nothing.
    found = SplitFacts.of_split(table_of(noise), np.arange(40) % 4)
    assert (found.copies, found.relabelled, found.relabelled_rows) == (3, 1, (0, 21))
    assert found.unlinked_copies == 3
    lesions = np.arange(40)
    lesions[10] = 0
    linked = SplitFacts.of_split(table_of(noise, lesions.astype(str)), np.arange(40) % 4)
    assert (linked.copies, linked.unlinked_copies) == (3, 2)
    parted = SplitFacts.of_split(table_of(noise), np.where(np.arange(40) == 0, LEFT_OUT, 0))
    assert (parted.copies, parted.relabelled, parted.relabelled_rows) == (2, 1, (10, 21))


@pytest.mark.parametrize("shape", [(40, 3, 5, 1), (40, 8, 8, 3), (2500, 2, 2, 3)])
def test_first_copies_are_those_of_a_naive_search(shape):
    pictures = np.random.default_rng(2).integers(0, 2, shape).astype(np.uint8)
    rows = np.random.default_rng(3).permutation(len(pictures))[: len(pictures) * 3 // 4]
    seen = {}
    expected = []
    for position, row in enumerate(rows):
        one_colour = len({tuple(pixel) for pixel in pictures[row].reshape(-1, shape[3])}) == 1
        expected.append(position if one_colour else seen.setdefault(pictures[row].tobytes(), position))
    assert first_copies(table_of(pictures), rows).tolist() == expected


def test_on_the_real_table(real_tables):
    """What is alike is of one lesion, but for a few pairs."""
    from skinmnist import load_hmnist

    table = load_hmnist(real_tables / "hmnist_8_8_RGB.csv")
    pairs = correlated_pairs(table, np.arange(len(table)))
    same = table.lesion_ids[pairs[:, 0]] == table.lesion_ids[pairs[:, 1]]
    assert (len(pairs), int(same.sum())) == (114, 112)
    assert SplitFacts.of_split(table, assign_folds(table, 5)[0]).shared_lesions == 0


# Whether lesion ids fit the pictures


def shuffled_within_classes(table, seed):
    random, ids = np.random.default_rng(seed), table.lesion_ids.copy()
    for code in range(len(table.class_names)):
        rows = np.flatnonzero(table.labels == code)
        ids[rows] = ids[random.permutation(rows)]
    return replace(table, lesion_ids=ids)


def drawn():
    return make_lesions(1500, size=8, random_state=3)


@pytest.mark.parametrize(
    ("table", "fits"),
    [
        (drawn, True),
        (lambda: shuffled_within_classes(drawn(), 0), False),
        (lambda: shuffled_within_classes(drawn(), 1), False),
        (lambda: shuffled_within_classes(drawn(), 2), False),
    ],
    ids=["own", "shuffled", "shuffled again", "shuffled once more"],
)
def test_lesion_ids_of_other_pictures_are_seen(table, fits):
    fit = LesionFit.of_table(table())
    assert fit.pairs > 300
    assert fit.share > 0.75 if fits else 0.42 < fit.share < 0.58
    assert fit.doubtful is not fits
    assert (f"{fit.share:.0%}" in "".join(fit.warning)) is not fits


def test_the_fit_of_lesion_ids_is_the_share_of_pictures_that_are_less_alike():
    table = drawn().take(np.arange(260))
    pairs, share = lesion_likeness(table)
    pixels = table.pixels.reshape(len(table), -1, 3).astype(float)
    colours = np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)
    shares = []
    for first in range(len(table)):
        for second in np.flatnonzero(table.lesion_ids == table.lesion_ids[first]):
            others = (table.labels == table.labels[first]) & (table.lesion_ids != table.lesion_ids[first])
            if second == first or not others.any():
                continue
            near = np.linalg.norm(colours[first] - colours[second])
            shares.append(np.mean(np.linalg.norm(colours[others] - colours[first], axis=1) > near))
    # The measure takes each lesion's pictures in a row, here each is held against each.
    assert share == pytest.approx(np.mean(shares), abs=0.08)
    assert 0 < pairs <= len(shares)


def test_tables_that_cannot_tell_have_no_fit():
    table = drawn()
    assert lesion_likeness(replace(table, lesion_ids=None)) is None
    assert lesion_likeness(replace(table, lesion_ids=np.arange(len(table)).astype(str))) is None
    every = np.array([f"lesion {label}" for label in table.labels])
    assert lesion_likeness(replace(table, lesion_ids=every)) is None


@pytest.mark.parametrize("name", ["hmnist_8_8_RGB", "hmnist_28_28_RGB"])
def test_the_real_lesion_ids_fit_and_shuffled_ones_do_not(name, real_tables):
    from skinmnist import load_hmnist

    table = load_hmnist(real_tables / f"{name}.csv")
    assert lesion_likeness(table)[1] > 0.78
    for seed in range(3):
        wrong = shuffled_within_classes(table, seed)
        assert lesion_likeness(wrong)[1] < 0.55
        assert LesionFit.of_table(wrong).doubtful


#: Rows of a table that is searched for second views.
N = 210


@pytest.fixture(autouse=True)
def small_tables(monkeypatch):
    """Let tables of 200 rows be searched; chance finds more in them."""
    monkeypatch.setattr("skinmnist.datasets.near_duplicates.FEWEST_VIEWED", 200)


def skies(n=N, side=34, seed=0):
    """Return pictures of smooth random spots, larger than what is shown of them."""
    rng = np.random.default_rng(seed)
    blur = _gaussian(side, 1.3)
    noise = np.einsum("ab,nbcd,ec->naed", blur, rng.normal(size=(n, side, side, 3)), blur, optimize=True)
    return np.clip(128 + 160 * noise, 0, 255)


@pytest.fixture(scope="module")
def second_view():
    """A table in which row 31 shows what row 4 shows, three pixels aside, darker and noisier."""
    large = skies()
    pictures = large[:, 3:31, 3:31].copy()
    noise = np.random.default_rng(1).normal(0, 4, (28, 28, 3))
    pictures[31] = 0.7 * large[4, 1:29, 5:33] + 20 + noise
    return table_of(pictures.astype(np.uint8))


def test_a_shifted_and_darker_picture_stands_out_most(second_view):
    pairs, scores = score_pairs(second_view, np.arange(N))
    assert pairs[scores.argmax()].tolist() == [4, 31]
    found = find_second_views(second_view, np.arange(N))
    assert [4, 31] in found.tolist()
    np.testing.assert_array_equal(found, pairs[scores >= STANDS_OUT])
    np.testing.assert_array_equal(find_near_duplicates(second_view, np.arange(N)), found)


def test_pairs_do_not_depend_on_the_order_of_rows_and_only_rows_asked_for_count(second_view):
    rows = np.random.default_rng(0).permutation(N)
    expected = find_second_views(second_view, np.arange(N))
    np.testing.assert_array_equal(find_second_views(second_view, rows), expected)
    assert 4 not in find_second_views(second_view, np.delete(np.arange(N), 4))


def test_pictures_that_cannot_tell_have_no_second_views(second_view):
    assert len(find_second_views(second_view, np.arange(199))) == 0
    rng = np.random.default_rng(0)
    small = table_of(rng.integers(0, 256, (N, 7, 7, 1), dtype=np.uint8))
    assert len(find_second_views(small, np.arange(N))) == 0
    for level in (0, 255):
        plain = table_of(np.full((N, 8, 8, 3), level, np.uint8))
        assert len(find_second_views(plain, np.arange(N))) == 0


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 12, 3), (40, 30, 1)])
def test_other_shapes_are_scored(shape):
    pictures = np.random.default_rng(0).integers(0, 256, (N, *shape), dtype=np.uint8)
    pictures[5] = pictures[2]
    assert [2, 5] in find_second_views(table_of(pictures), np.arange(N)).tolist()
    _, scores = score_pairs(table_of(pictures), np.arange(N))
    assert np.isfinite(scores).all()


def test_fits_are_those_of_a_naive_search_over_shifts():
    details = np.random.default_rng(0).normal(size=(6, 12, 10)).astype(np.float32)
    pairs = np.array([[0, 1], [2, 3], [4, 4]])
    y, x = np.mgrid[:12, :10]
    distance = 28 * np.hypot((y - 5.5) / 12, (x - 4.5) / 10)
    window = np.clip((13.5 - distance) / 3, 0, 1)
    expected = []
    for one, other in pairs:
        first, second = details[one], details[other]
        best = -np.inf
        for dy in range(-3, 4):
            for dx in range(-2, 3):
                product = energy = 0.0
                for row in range(12):
                    for column in range(10):
                        if 0 <= row + dy < 12 and 0 <= column + dx < 10:
                            value, weight = first[row + dy, column + dx], window[row, column]
                            product += value * second[row, column] * weight
                            energy += value**2 * weight
                best = max(best, product / np.sqrt(energy))
        expected.append(best / np.sqrt((second**2 * window).sum()))
    np.testing.assert_allclose(_fits(details, pairs), expected, rtol=1e-4)
    assert expected[2] == pytest.approx(1)


def test_a_pair_stands_out_against_the_others_of_both():
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
    fits = np.array([0.9, 0.1, 0.3, 0.2, 0.2, 0.1], dtype=np.float32)
    z = np.arctanh(fits.astype(float))
    of_0, of_1 = z[[1, 2]], z[[3, 4]]
    expected = [(z[0] - others.mean()) / max(others.std(), 0.05) for others in (of_0, of_1)]
    assert _standing_out(pairs, fits, 4)[0] == pytest.approx(np.mean(expected))


@pytest.mark.slow
def test_known_pairs_of_the_real_table(real_tables):
    """At least 12 of the 18 pairs that are known to show one lesion under two ids, and few others."""
    from skinmnist import facts, load_hmnist
    from skinmnist.datasets.metadata import read_metadata

    table = load_hmnist(real_tables / "hmnist_28_28_RGB.csv")
    lesions = read_metadata(real_tables / facts.METADATA_FILE).lesion_ids
    found = find_second_views(table, np.arange(len(table)))
    apart = found[lesions[found[:, 0]] != lesions[found[:, 1]]]
    names = [{*pair} for pair in table.image_ids[apart].tolist()]
    known = [{f"ISIC_{number:07d}" for number in pair} for pair in facts.SAME_LESION]
    hits = sum(pair in known for pair in names)
    assert hits >= 12
    assert len(names) - hits <= 20


@pytest.mark.parametrize("pairs", [[[1, 3]], []], ids=["some", "none"])
def test_a_search_of_many_rows_is_kept_for_these_rows_and_pixels_only(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path))
    searched = []

    def search(table, rows):
        searched.append(len(rows))
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    monkeypatch.setattr(near_duplicates, "find_second_views", search)
    monkeypatch.setattr(near_duplicates, "correlated_pairs", lambda *_: np.zeros((0, 2), np.int64))
    pixels = np.random.default_rng(0).integers(0, 256, (1010, 2, 2, 3)).astype(np.uint8)
    table, rows = table_of(pixels), np.arange(1005)
    found = [find_near_duplicates(table, rows).tolist() for _ in range(2)]
    assert found == [pairs] * 2
    assert searched == [1005]
    find_near_duplicates(table, np.arange(1, 1006))
    find_near_duplicates(table_of(255 - pixels), rows)
    assert searched == [1005] * 3
