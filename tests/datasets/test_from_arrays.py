"""Tables of a user's own arrays: what is understood, what is noted, and what is refused."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from golden_pictures import GOLDEN, modes, turns
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from skinmnist import PixelTable
from skinmnist.datasets.from_arrays import as_table
from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.errors import InputError

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
LABELS = ["nv", "mel", "nv", "bkl", "mel", "nv"]


@pytest.mark.parametrize(
    "X",
    [
        LEVELS,
        LEVELS.reshape(6, -1),
        LEVELS.astype(int),
        LEVELS.astype(np.float32),
        LEVELS / 255,
        (LEVELS / 255).astype(np.float32).tolist(),
        pd.DataFrame(LEVELS.reshape(6, -1)),
        list(LEVELS),
        [Image.fromarray(picture) for picture in LEVELS],
        [Image.fromarray(picture).convert("RGBA") for picture in LEVELS],
    ],
    ids=["uint8", "rows", "int", "float", "share", "lists", "frame", "arrays", "pillow", "rgba"],
)
def test_one_table_in_many_forms(X):
    found = PixelTable.from_arrays(X, LABELS)
    np.testing.assert_array_equal(found.pixels, LEVELS.reshape(6, -1))
    assert found.shape == (4, 4, 3)
    assert found.class_names == ("bkl", "mel", "nv")
    assert [found.class_names[code] for code in found.labels] == LABELS
    assert found.lesion_ids is None


FRAME = pd.DataFrame(LEVELS.reshape(6, -1).astype(int))


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (FRAME.convert_dtypes(), FRAME),
        (FRAME.astype("Float64"), FRAME),
        ((FRAME // 128).astype("Int64"), FRAME // 128),
        (
            FRAME.assign(**{"0": FRAME[0] > 99}).drop(columns=0),
            FRAME.assign(**{"0": FRAME[0] > 99}).drop(columns=0),
        ),
        ((FRAME > 99).astype("boolean"), 255 * (FRAME > 99)),
        (FRAME.set_axis([0] * FRAME.shape[1], axis=1), FRAME),
    ],
    ids=[
        "converted",
        "nullable floats",
        "small nullable",
        "bool beside int",
        "nullable bool",
        "names repeated",
    ],
)
def test_frames_of_any_numeric_columns(X, expected):
    found = PixelTable.from_arrays(X, LABELS, shape=(4, 4, 3))
    np.testing.assert_array_equal(found.pixels, expected.to_numpy(dtype=float))


@pytest.mark.parametrize("name", [name for made in (modes, turns) for name, *_ in made()])
def test_pillow_pictures_become_the_rows_that_prediction_sees(name):
    source, expected, _ = GOLDEN[name]
    picture = Image.open(io.BytesIO(source)) if isinstance(source, bytes) else source
    if isinstance(expected, str):
        with pytest.raises(InputError, match=f"^picture 0: .*{re.escape(expected)}"):
            PixelTable.from_arrays([picture] * 2, ["nv", "mel"])
        return
    found = PixelTable.from_arrays([picture] * 2, ["nv", "mel"])
    np.testing.assert_array_equal(found.pixels[1], picture_row(open_picture(source), found.shape))
    assert found.shape[2] == (1 if picture.mode in ("1", "L", "LA", "La", "I;16", "I;16B", "I", "F") else 3)


@pytest.mark.parametrize(
    "y",
    [
        np.array(LABELS),
        pd.Series(LABELS, index=range(10, 16)),
        pd.Series(LABELS, dtype="category"),
        pd.Categorical(LABELS, categories=["bkl", "mel", "nv", "vasc"]),
        np.array(LABELS, dtype=object)[:, None],
        np.array(LABELS, dtype=np.bytes_),
        np.char.upper(LABELS),
        ["nv", "mel", "NV ", "bkl", "Mel", " nv"],
        pd.Categorical(["nv", "mel", "NV", "bkl", "Mel", "nv"], ["bkl", "Mel", "NV", "mel", "nv"]),
    ],
    ids=["array", "series", "categorical", "unused", "column", "bytes", "upper", "spellings", "categories"],
)
def test_one_set_of_labels_in_many_forms(y):
    found = PixelTable.from_arrays(LEVELS, y)
    assert found.class_names == ("bkl", "mel", "nv")
    np.testing.assert_array_equal(found.labels, [2, 1, 2, 0, 1, 2])


def test_the_order_of_a_categorical_and_of_class_names_stays():
    names = ("nv", "mel", "bkl")
    assert PixelTable.from_arrays(LEVELS, pd.Categorical(LABELS, categories=names)).class_names == names
    given_names = PixelTable.from_arrays(LEVELS, LABELS, class_names=names)
    by_number = PixelTable.from_arrays(LEVELS, [0.0, 1, 0, 2, 1, 0], class_names=names)
    for found in (given_names, by_number):
        assert found.class_names == names
        np.testing.assert_array_equal(found.labels, [0, 1, 0, 2, 1, 0])


def test_numbers_are_sorted_as_numbers():
    found = PixelTable.from_arrays(LEVELS, [10, 9, 10, 9, 2, 2])
    assert found.class_names == ("2", "9", "10")


def test_columns_of_a_frame_may_hold_labels_and_groups():
    frame = pd.DataFrame(LEVELS.reshape(6, -1)).assign(dx=LABELS, lesion_id=[1, 1, 2, 3, 4, 4])
    found = PixelTable.from_arrays(frame, "dx", "lesion_id")
    assert found.lesion_ids.tolist() == ["1", "1", "2", "3", "4", "4"]
    np.testing.assert_array_equal(found.pixels, LEVELS.reshape(6, -1))


@pytest.mark.parametrize("blank", [" {}", "{} ", "\t{}\n"])
def test_blanks_around_groups_split_no_lesion(blank):
    groups = ["a", "b", blank.format("a"), "c", blank.format("b"), "c"]
    assert PixelTable.from_arrays(LEVELS, LABELS, groups).lesion_ids.tolist() == [*"abacbc"]


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
def test_a_shape_that_is_given_is_kept(height, width, channels):
    rows = np.arange(2 * height * width * channels).reshape(2, -1) % 256
    found = PixelTable.from_arrays(rows, ["a", "b"], shape=(height, width, channels))
    assert found.shape == (height, width, channels)
    two = PixelTable.from_arrays(rows, ["a", "b"], shape=(height, width))
    assert two.shape == (height, width, channels)
    images = rows.reshape(2, height, width, channels)
    assert PixelTable.from_arrays(images, ["a", "b"]).shape == (height, width, channels)
    listed = list(images[..., 0] if channels == 1 else images)
    assert PixelTable.from_arrays(listed, ["a", "b"]).shape == (height, width, channels)


@given(st.integers(4, 9), st.integers(4, 9), st.sampled_from([1, 3]), st.data())
def test_a_shape_never_scrambles_pictures(height, width, channels, data):
    pictures = np.arange(2 * height * width * channels, dtype=np.uint8).reshape(2, height, width, channels)
    forms = [(height, width, channels), (height * width, channels), (height * width * channels,)]
    form = data.draw(st.sampled_from([*forms, (height, width)] if channels == 1 else forms))
    shape = (height, width, channels)
    found = PixelTable.from_arrays(pictures.reshape(2, *form), ["a", "b"], shape=shape)
    np.testing.assert_array_equal(found.pixels, pictures.reshape(2, -1))
    assert found.shape == shape
    for first in (np.moveaxis(pictures, -1, 1), np.moveaxis(pictures, -1, 1).reshape(2, channels, -1)):
        with pytest.raises(InputError, match=re.escape("channels first; put them last: np.moveaxis")):
            PixelTable.from_arrays(first, ["a", "b"], shape=shape)


@given(st.integers(1, 64), st.integers(1, 64))
def test_grey_pictures_need_no_shape_unless_they_may_be_flat(height, width):
    pictures = np.zeros((2, height, width))
    given_shape = PixelTable.from_arrays(pictures, ["a", "b"], shape=(height, width))
    assert given_shape.shape == (height, width, 1)
    # Numbers of pixels of flat pictures whose sides are 4 or more.
    flat = [one * other for one in range(4, 9) for other in range(one, 17)]
    if (height in (1, 3) and width in flat) or (width in (1, 3) and height in flat):
        with pytest.raises(InputError, match=re.escape(f"or shape={(height, width, 1)}")):
            PixelTable.from_arrays(pictures, ["a", "b"])
    else:
        assert PixelTable.from_arrays(pictures, ["a", "b"]).shape == (height, width, 1)


@pytest.mark.parametrize(
    ("X", "note"),
    [
        (LEVELS / 255, "0-1, and multiplied by 255"),
        (LEVELS * 1.0, r"levels of 0-255 \(the largest is \d+\)$"),
        (LEVELS * 0.5, "and rounded"),
        (LEVELS > 99, "black and white"),
        (LEVELS.reshape(6, -1), "48 columns were interpreted as pictures of 4 x 4 x 3"),
        ([Image.fromarray(one).convert("P") for one in LEVELS], "pictures of mode P were converted to RGB"),
    ],
)
def test_what_was_understood_is_noted(X, note):
    assert re.search(note, " ".join(PixelTable.from_arrays(X, LABELS).notes))


def test_whole_numbers_need_no_note():
    assert PixelTable.from_arrays(LEVELS, LABELS).notes == ()


def test_a_table_does_not_change_with_the_users_array():
    own = LEVELS.copy()
    found = PixelTable.from_arrays(own, LABELS)
    own[:] = 0
    np.testing.assert_array_equal(found.pixels, LEVELS.reshape(6, -1))


def with_value(value):
    changed = LEVELS / 255
    changed[2, 0, 1, 0] = value
    return changed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": LABELS[:5]}, "received 6 pictures and 5 labels"),
        ({"groups": [1, 2]}, "received 2 groups for 6 pictures"),
        ({"X": with_value(np.nan)}, "picture 2 holds nan (column 3)"),
        ({"X": with_value(np.inf)}, "picture 2 holds inf"),
        ({"X": with_value(-0.5)}, "negative values (-0.5 to"),
        ({"X": with_value(4095)}, "values up to 4095; expected pixels of 0-1 or 0-255, so divide by 4095"),
        ({"X": np.zeros((6, 50))}, "give their shape, such as shape=(5, 10, 1) or shape=(10, 5, 1)"),
        ({"X": np.zeros((6, 64, 3))}, "give shape=(8, 8, 3) or shape=(64, 3, 1)"),
        ({"X": np.zeros((6, 7500, 3))}, "give shape=(75, 100, 3) or shape=(7500, 3, 1)"),
        (
            {"X": np.zeros((6, 3, 64))},
            "give shape=(8, 8, 3), with the channels last (np.moveaxis(X, 1, -1)), or shape=(3, 64, 1)",
        ),
        ({"X": np.zeros((6, 28, 28)), "shape": (14, 56, 1)}, "received shape=(14, 56, 1) for X"),
        ({"X": np.zeros((6, 8, 9)), "shape": (9, 8)}, "received shape=(9, 8) for X of shape (6, 8, 9)"),
        ({"X": np.zeros((6, 64)), "shape": (100, 100)}, "received shape=(100, 100) for X of shape (6, 64)"),
        ({"X": np.zeros((6, 64)), "shape": (-8, -8, 1)}, "received shape=(-8, -8, 1) for X of shape (6, 64)"),
        ({"X": np.zeros((6, 3, 8, 8))}, "channels first; put them last: np.moveaxis(X, 1, -1)"),
        ({"X": np.zeros((6, 8, 8, 4))}, "got 4; drop the alpha channel: X[..., :3]"),
        ({"X": np.zeros(6)}, "received X of shape (6,)"),
        ({"X": LEVELS, "shape": (4, 4, 1)}, "received shape=(4, 4, 1) for X of shape (6, 4, 4, 3)"),
        ({"X": "table.csv"}, "received the path 'table.csv' as X; read it with load_hmnist(path)"),
        ({"X": ["a.png"] * 6}, "expected pixels or pictures: open files with PIL.Image.open"),
        ({"X": [LEVELS[0], LEVELS[1, :2]]}, "differ in size (2 x 4 x 3, 4 x 4 x 3); resize them"),
        ({"X": [None, *LEVELS[1:]]}, "picture 0 of X is 'None'; expected an array of pixels"),
        ({"X": [*LEVELS[1:], 7]}, "picture 5 of X is '7'; expected an array of pixels"),
        ({"X": [*LEVELS[1:], [[1, 2], [3]]]}, "differ in size; resize them to one size"),
        ({"X": pd.DataFrame({"a": LABELS})}, "the column 'a' of X is not numeric"),
        ({"X": FRAME.astype("Int64").reindex(range(-1, 5))}, "picture 0 holds nan (column 0)"),
        (
            {"X": pd.DataFrame({"a": range(6)}), "y": "dx"},
            "received the column 'dx', which is not in the data frame",
        ),
        ({"X": [Image.new("F", (4, 4), 999)] * 6}, "picture 0: received a picture of Pillow's mode 'F' with"),
        ({"X": [LEVELS[0] / 255, *map(Image.fromarray, LEVELS[1:])]}, "picture 0: received an array of"),
        ({"y": None}, "received no labels"),
        (
            {"y": np.eye(6)},
            "received y of shape (6, 6); expected one label per picture, such as y.argmax",
        ),
        ({"y": ["nv", np.nan, "nv", "mel", "mel", "nv"]}, "picture 1 has no label (nan)"),
        ({"y": pd.Series([1, None, 2, 1, 1, 1])}, "picture 1 has no label"),
        ({"y": np.arange(6) / 10}, "received the label 0.1; expected classes"),
        ({"y": ["nv"] * 6}, "all labels are 'nv'; expected at least two classes"),
        ({"class_names": ["nv", "mel"]}, "received the label 'bkl' and class_names=['nv', 'mel']"),
        ({"class_names": ["nv", "mel", "bkl", "df"]}, "no picture is labelled 'df'"),
        ({"class_names": "nv"}, "expected a list with one name per class"),
        ({"class_names": 3}, "received class_names=3; expected a list with one name per class"),
        (
            {"class_names": ["x", "nv", "X", "Nv"]},
            "received 'x' and 'X' in class_names; give each class a different name: names that differ",
        ),
        ({"groups": [1, None, 2, 3, 4, 5]}, "picture 1 has no group"),
        ({"groups": ["a", "b", " ", "c", "d", "e"]}, "picture 2 has no group"),
        ({"groups": np.zeros((6, 2))}, "received groups of shape (6, 2)"),
    ],
)
def test_what_cannot_be_a_table(arguments, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        PixelTable.from_arrays(**{"X": LEVELS, "y": LABELS, **arguments})
    assert "\n" not in str(caught.value)


def test_what_stands_for_a_table():
    digits = load_digits()
    found = as_table(digits)
    assert found.shape == (8, 8, 1)
    assert found.class_names == tuple("0123456789")
    np.testing.assert_array_equal(found.pixels, digits.data.astype(np.uint8))
    np.testing.assert_array_equal(found.labels, digits.target)
    assert as_table(found) is found
    # `fetch_openml` gives a frame, and the name of the target's column.
    opened = as_table(Bunch(data=FRAME, target=pd.Series(LABELS), target_names=["class"]))
    assert opened.class_names == ("bkl", "mel", "nv")
    assert as_table((LEVELS, LABELS, [1, 1, 2, 3, 4, 4])).n_lesions == 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (LEVELS, "an array of shape (6, 4, 4, 3) without labels; expected a PixelTable, (X, y)"),
        ("table.csv", "read the file with load_hmnist(path)"),
        (3, "received 'int'; expected a PixelTable"),
    ],
)
def test_what_does_not(data, message):
    with pytest.raises(InputError, match=re.escape(message)):
        as_table(data)
