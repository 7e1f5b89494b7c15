import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from skinmnist import facts
from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.table import PixelTable, picture_strip, sample_rows, to_images, to_rows
from skinmnist.errors import InputError


def small_table(**changes) -> PixelTable:
    """Return five grey 1 x 2 pictures of two classes and three lesions, with changes."""
    fields = {
        "pixels": np.arange(10, dtype=np.uint8).reshape(5, 2),
        "labels": np.array([0, 0, 1, 1, 0]),
        "class_names": ("a", "b"),
        "shape": (1, 2, 1),
        "lesion_ids": np.array(["L1", "L1", "L2", "L2", "L3"]),
        "image_ids": np.array(["I1", "I2", "I3", "I4", "I5"]),
        "name": "small",
    }
    return PixelTable(**{**fields, **changes})


def test_counts_rows_and_lesions_per_class():
    table = small_table()
    assert len(table) == 5
    assert table.class_counts.tolist() == [3, 2]
    assert table.lesion_counts.tolist() == [2, 1]
    assert table.n_lesions == 3
    assert repr(table) == "<PixelTable small: 5 pictures of 1 x 2 x 1, 3 lesions, 2 classes>"


def test_unknown_lesions_have_no_count():
    table = small_table(lesion_ids=None)
    assert table.n_lesions is None
    assert table.lesion_counts is None
    assert "lesions unknown" in repr(table)


@pytest.mark.parametrize(
    ("changes", "received", "expected"),
    [
        ({"pixels": np.zeros((5, 2), np.float32)}, "(5, 2) and type float32", "(5, 2) of uint8"),
        ({"pixels": np.zeros((4, 2), np.uint8)}, "(4, 2) and type uint8", "(5, 2) of uint8 for 5 labels"),
        ({"shape": (1, 2, 3)}, "(5, 2) and type uint8", "(5, 6) of uint8"),
        ({"lesion_ids": np.array(["L1"])}, "1 lesion_ids for 5 rows", "one for each row"),
        ({"image_ids": np.array(["I1"] * 6)}, "6 image_ids for 5 rows", "one for each row"),
        ({"labels": np.array([0, 0, 2, 2, 0])}, "label codes [0, 2]", "each code 0 to 1"),
        ({"labels": np.array([0, 0, 0, 0, 0])}, "label codes [0]", "each code 0 to 1"),
        ({"labels": np.array([-1, 0, 1, 1, 0])}, "label codes [-1, 0, 1]", "each code 0 to 1"),
        ({"class_names": ("a", "a")}, "the class names ['a', 'a']", "give each class a different name"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, received, expected):
    with pytest.raises(InputError) as error:
        small_table(**changes)
    assert received in str(error.value)
    assert expected in str(error.value)


def test_take_keeps_rows_together():
    table = small_table().take(np.array([3, 0]))
    assert table.pixels.tolist() == [[6, 7], [0, 1]]
    assert table.labels.tolist() == [1, 0]
    assert table.lesion_ids.tolist() == ["L2", "L1"]
    assert table.image_ids.tolist() == ["I4", "I1"]
    assert table.clinical is None
    assert table.name == "small"
    assert small_table().take(np.array([0, 2]), name="other").name == "other"


def test_clinical_columns_follow_the_rows_and_leave_the_digest_alone():
    known = {"age": np.arange(5.0), "sex": np.array(["f", "m", "", "f", "m"])}
    table = small_table(clinical=known)
    taken = table.take(np.array([3, 0])).clinical
    assert {name: values.tolist() for name, values in taken.items()} == {"age": [3, 0], "sex": ["f", "f"]}
    assert table.digest() == small_table().digest()


def test_clinical_columns_have_a_value_for_each_row_of_a_kind_that_can_be_used():
    with pytest.raises(InputError, match="received 4 age for 5 rows"):
        small_table(clinical={"age": np.arange(4.0)})
    with pytest.raises(InputError, match="received the clinical column 'age' of type object"):
        small_table(clinical={"age": np.array([1, None, 2, 3, 4])})


def test_take_refuses_to_lose_a_class():
    with pytest.raises(InputError, match="label codes"):
        small_table().take(np.array([0, 1]))


@pytest.mark.parametrize(
    "changes",
    [
        {"pixels": np.arange(10, dtype=np.uint8).reshape(5, 2)[::-1].copy()},
        {"labels": np.array([0, 1, 1, 1, 0])},
        {"class_names": ("a", "c")},
        {"shape": (2, 1, 1)},
        {"lesion_ids": np.array(["L1", "L1", "L2", "L2", "L4"])},
        {"lesion_ids": None},
    ],
)
def test_digest_follows_what_scores_depend_on(changes):
    assert small_table().digest() == small_table().digest()
    assert small_table(**changes).digest() != small_table().digest()


def test_digest_leaves_names_and_memory_layout_alone():
    table = small_table()
    assert dataclasses.replace(table, name="other", origin="elsewhere").digest() == table.digest()
    assert small_table(pixels=np.asfortranarray(table.pixels)).digest() == table.digest()


@pytest.mark.parametrize("shape", [(28, 28, 3), (8, 8, 1), (2, 5, 3), (1, 1, 1)])
def test_rows_and_pictures_are_inverse_and_share_memory(shape):
    rows = np.random.default_rng(0).integers(0, 256, (4, np.prod(shape)), dtype=np.uint8)
    images = to_images(rows, shape)
    assert images.shape == (4, *shape)
    assert np.shares_memory(images, rows)
    np.testing.assert_array_equal(to_rows(images), rows)


def test_pixel_order_is_height_width_channel(write_table):
    # Red in the top row of four pixels, green in the lower left pixel, blue in the lower right one.
    red, black, green, blue = [255, 0, 0], [0, 0, 0], [0, 255, 0], [0, 0, 255]
    golden = red * 4 + black * 8 + green + black * 2 + blue
    table = load_hmnist(write_table([golden, [7] * 48], [0, 1]))
    images = to_images(table.pixels, table.shape)
    assert table.shape == (4, 4, 3)
    assert (images[0, 0, :, 0] == 255).all()
    assert images[0, :, :, 0].sum() == 4 * 255
    assert images[0, 3, 0].tolist() == green
    assert images[0, 3, 3].tolist() == blue
    assert images[0, :, :, 1:].sum() == 2 * 255


def test_class_order_is_that_of_the_label_codes(write_table):
    assert facts.CLASS_NAMES == ("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel")
    labels = np.repeat(np.arange(7), facts.ROWS_PER_CLASS)
    path = write_table(np.zeros((len(labels), 64), int), labels)
    assert load_hmnist(path).class_names == facts.CLASS_NAMES


def test_class_order_is_that_of_the_real_metadata(real_tables):
    # Read with nothing of the package: the diagnosis and the label of every row, as text.
    metadata = (real_tables / "HAM10000_metadata.csv").read_text("utf-8").splitlines()
    labels = (
        line.rsplit(",", 1)[1] for line in (real_tables / "hmnist_8_8_RGB.csv").read_text().splitlines()
    )
    pairs = {(label, line.split(",")[2]) for label, line in zip(labels, metadata, strict=True)}
    assert pairs == {("label", "dx")} | {(str(code), name) for code, name in enumerate(facts.CLASS_NAMES)}


@pytest.mark.parametrize("n_rows", [50, 120, 300])
def test_lesions_stay_whole_and_classes_in_proportion(lesions, n_rows):
    rows = sample_rows(lesions, n_rows, random_state=3)
    left = np.setdiff1d(np.arange(len(lesions)), rows)
    assert not set(lesions.lesion_ids[rows]) & set(lesions.lesion_ids[left])
    assert 0.9 * n_rows <= len(rows) <= n_rows + len(lesions.class_names)
    shares = np.bincount(lesions.labels[rows]) / len(rows)
    np.testing.assert_allclose(shares, lesions.class_counts / len(lesions), atol=0.03)


def test_seed_decides(lesions):
    np.testing.assert_array_equal(sample_rows(lesions, 100, 5), sample_rows(lesions, 100, 5))
    assert not np.array_equal(sample_rows(lesions, 100, 5), sample_rows(lesions, 100, 6))


def test_all_rows_where_there_are_no_more(lesions):
    np.testing.assert_array_equal(sample_rows(lesions, len(lesions) + 1), np.arange(len(lesions)))


def test_too_few(lesions):
    with pytest.raises(InputError, match="at least one row for each of 7 classes, got 6"):
        sample_rows(lesions, 6)


def test_a_notebook_shows_pictures_of_each_class(lesions):
    shown = dataclasses.replace(lesions, notes=("<b> one note",))._repr_html_()
    for name, count in zip(lesions.class_names, lesions.class_counts, strict=True):
        assert f"Pictures of class {name}'" in shown
        assert f">{count:,}</td>" in shown
    first = re.search(r"src='data:image/png;base64,([^']+)'", shown)
    with Image.open(io.BytesIO(base64.b64decode(first[1]))) as picture:
        pixels = np.asarray(picture)
    row = np.flatnonzero(lesions.labels == 0)[0]
    enlarged = lesions.pixels[row].reshape(8, 8, 3).repeat(7, axis=0).repeat(7, axis=1)
    np.testing.assert_array_equal(pixels[:, :56, :3], enlarged)
    assert "<b>" not in shown


def test_large_pictures_are_thinned_out_for_notebooks():
    table = PixelTable(np.zeros((4, 448 * 448), np.uint8), np.array([0, 0, 1, 1]), ("a", "b"), (448, 448, 1))
    assert len(table._repr_html_()) < 5000


def test_one_channel_is_shown_as_grey():
    strip = picture_strip(np.full((2, 4, 4, 1), 9, np.uint8), size=8)
    assert strip.shape == (8, 20, 4)
    assert (strip[:, :8] == [9, 9, 9, 255]).all()
    assert (strip[:, 8:12] == 0).all()
