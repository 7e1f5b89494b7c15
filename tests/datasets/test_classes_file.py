import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinmnist import facts
from skinmnist.datasets.classes_file import about_content, about_file, read_about, spell_classes
from skinmnist.datasets.hmnist import load_hmnist


def beside(table, **described):
    path = about_file(table)
    path.write_text(json.dumps(described), encoding="utf-8")
    return path


@given(
    st.lists(st.sampled_from(["Benign", "benign", " BENIGN ", "Straße", "STRASSE", "Mel", "mel ", "b"])),
    st.sampled_from([(), ("B",), ("benign", "Malignant")]),
)
def test_names_that_differ_in_case_or_blanks_are_spelt_alike(names, like):
    spelt = spell_classes(names, like)
    for name, own in zip(names, spelt, strict=True):
        same = [one for one in like if one.casefold() == name.strip().casefold()]
        same += sorted(one.strip() for one in names if one.strip().casefold() == name.strip().casefold())
        assert own == ("mel" if name.strip().lower() in facts.CLASS_NAMES else same[0])
    assert spell_classes(spelt, like) == spelt
    assert spell_classes(names[::-1], like) == spelt[::-1]


@pytest.mark.parametrize("shape", [(2, 3, 1), (3, 2, 1), (6, 1, 1), (1, 2, 3), (2, 1, 3)])
def test_the_shape_is_the_one_that_is_written_beside(shape, write_table, random_table):
    pixels, labels = np.arange(36).reshape(6, 6), [0, 1, 2, 0, 1, 2]
    path = write_table(pixels, labels)
    about_file(path).write_bytes(about_content(("wet", "dry", "mäßig"), shape, b"", "0" * 64))
    table = load_hmnist(path)
    assert table.shape == shape
    assert table.class_names == ("wet", "dry", "mäßig")
    np.testing.assert_array_equal(table.pixels, pixels)


def test_what_fits_two_shapes_is_read_as_the_one_that_is_written(write_table, complaint):
    path = write_table(np.zeros((2, 7500), int), [0, 1])
    assert "fit 50 x 50 x 3 (RGB) or 75 x 100 x 1 (grey)" in complaint(path)
    assert load_hmnist(path, size=(50, 50)).shape == (50, 50, 3)
    beside(path, class_names=["a", "b"], shape=[75, 100, 1])
    assert load_hmnist(path).shape == (75, 100, 1)  # though the cells come from the cache
    beside(path, class_names=["a", "b"])
    assert "fit 50 x 50 x 3 (RGB) or 75 x 100 x 1 (grey)" in complaint(path)  # and so they do here


def test_names_alone_are_enough_and_seven_need_not_be_those_of_ham10000(seven_classes, tmp_path):
    path = beside(seven_classes, class_names=list("abcdefg"))
    table = load_hmnist(seven_classes)
    assert table.class_names == tuple("abcdefg")
    assert table.shape == (2, 2, 1)
    assert table.inputs[-1] == ("table_classes.json", hashlib.sha256(path.read_bytes()).hexdigest())


def test_diagnoses_must_not_contradict_the_names_that_are_written(write_table, tmp_path, complaint):
    path = write_table(np.zeros((3, 4), int), [0, 1, 0])
    beside(path, class_names=["a", "b"])
    metadata = tmp_path / "table_metadata.csv"
    metadata.write_text("lesion_id,image_id,dx\nl,i0,a\nm,i1,b\nl,i2,a\n")
    assert load_hmnist(path).class_names == ("a", "b")
    metadata.write_text("lesion_id,image_id,dx\nl,i0,b\nm,i1,a\nl,i2,b\n")
    assert "table_classes.json calls label 0 'a', but" in complaint(path)
    metadata.write_text("lesion_id,image_id,dx\nl,i0,a\nm,i1,c\nl,i2,a\n")
    table = load_hmnist(path)
    assert table.class_names == ("a", "b")
    assert table.notes == (
        "class names come from table_classes.json; dx of table_metadata.csv calls them 0 a; 1 c",
    )


def test_lesions_that_are_all_empty_are_unknown(write_table, tmp_path):
    path = write_table(np.zeros((3, 4), int), [0, 1, 0])
    metadata = tmp_path / "table_metadata.csv"
    metadata.write_text("lesion_id,image_id,dx\n,i0,a\n ,i1,b\n,i2,a\n")
    table = load_hmnist(path)
    assert table.lesion_ids is None
    assert table.image_ids.tolist() == ["i0", "i1", "i2"]
    metadata.write_text("lesion_id,image_id,dx\n,i0,a\nl,i1,b\n,i2,a\n")
    assert len(set(load_hmnist(path).lesion_ids)) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "holds list; expected something like"),
        (b"{}", "holds nothing; expected something like"),
        (b'{"shape": [1, 1, 1]}', "holds 'shape'; expected"),
        (b'{"class_names": ["a", "b", "c"], "names": []}', "holds 'class_names', 'names'; expected"),
        (b'{"class_names": ["a"]}', "a list of at least two different names"),
        (b'{"class_names": ["a", "a", "b"]}', "a list of at least two different names"),
        (
            b'{"class_names": ["a", "A", "b"]}',
            "codes; names that differ only in case or blanks are one class",
        ),
        (b'{"class_names": ["a", "b", " "]}', "a list of at least two different names"),
        (b'{"class_names": ["a", "b", "c\\n"]}', "a list of at least two different names"),
        (b'{"class_names": "abc"}', "a list of at least two different names"),
        (b'{"class_names": ["a", "b"]}', "names 2 classes, but"),
        (b'{"class_names": ["a", "b", "c"], "shape": [2, 2]}', "expected [height, width, channels]"),
        (b'{"class_names": ["a", "b", "c"], "shape": [1, 2, 2]}', "with 1 channel (grey) or 3 (RGB)"),
        (b'{"class_names": ["a", "b", "c"], "shape": [4, 1, true]}', "expected [height, width, channels]"),
        (b'{"class_names": ["a", "b", "c"], "shape": [0, 2, 1]}', "expected [height, width, channels]"),
        (
            b'{"class_names": ["a", "b", "c"], "shape": [2, 3, 1]}',
            "4 pixel columns, but table_classes.json says 2 x 3 x 1; expected 6",
        ),
    ],
)
def test_every_fault_is_one_sentence(content, message, write_table, complaint):
    path = write_table(np.zeros((3, 4), int), [0, 1, 2])
    about_file(path).write_bytes(content)
    assert message in complaint(path)


def test_nothing_beside_a_table_is_no_fault(write_table):
    assert read_about(write_table(np.zeros((3, 4), int), [0, 1, 2])) is None
