"""MedMNIST's files: what is read, and one sentence for what is damaged or hostile."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from drawn_sets import SIZES, drawn_set, write_set

from skinmnist import InputError
from skinmnist.datasets.layouts import load_table
from skinmnist.datasets.medmnist import CLASS_NAMES, PARTS, set_name
from skinmnist.experiment.given_splits import find_split
from skinmnist.experiment.splits import VALIDATION


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_every_set_is_read_with_its_classes(name, tmp_path):
    grey = name not in ("pathmnist", "dermamnist", "retinamnist", "bloodmnist")
    arrays = drawn_set(len(CLASS_NAMES[name]), 28, 1 if grey else 3)
    table = load_table(write_set(tmp_path / f"{name}.npz", arrays))
    assert (table.class_names, table.shape) == (CLASS_NAMES[name], (28, 28, 1 if grey else 3))
    start = 0
    for part in PARTS:
        rows = slice(start, start + SIZES[part])
        assert (table.parts[rows] == part).all()
        np.testing.assert_array_equal(table.pixels[rows], arrays[f"{part}_images"].reshape(SIZES[part], -1))
        np.testing.assert_array_equal(table.labels[rows], arrays[f"{part}_labels"].ravel())
        start = rows.stop
    assert start == len(table) == len(set(table.image_ids))


@pytest.mark.parametrize("side", [8, 64, 128])
@pytest.mark.parametrize("packed", [True, False])
def test_other_sizes_and_unpacked_files(side, packed, tmp_path):
    arrays = drawn_set(2, side, 1, column=False)
    table = load_table(write_set(tmp_path / f"breastmnist_{side}.npz", arrays, packed))
    assert table.shape == (side, side, 1)
    assert table.class_names == CLASS_NAMES["breastmnist"]


def test_its_own_split_is_the_default(tmp_path):
    table = load_table(write_set(tmp_path / "dermamnist.npz", drawn_set(7)))
    fold_of = find_split(table, None).fold_of[0]
    np.testing.assert_array_equal(fold_of == 0, table.parts == "test")
    np.testing.assert_array_equal(fold_of == VALIDATION, table.parts == "val")
    assert find_split(table, "image") == "image"
    with pytest.raises(InputError, match="has no split of its own"):
        find_split(replace(table, parts=None), "own")


def test_names_of_classes(tmp_path):
    strange = write_set(tmp_path / "mine.npz", drawn_set(3))
    assert load_table(strange).class_names == ("class_0", "class_1", "class_2")
    assert "not known" in load_table(strange).notes[0]
    assert load_table(strange, classes=("a", "b", "c")).class_names == ("a", "b", "c")
    with pytest.raises(InputError, match=r"names 2 classes, but .* has 3"):
        load_table(strange, classes=("a", "b"))
    assert load_table(strange, classes=["NV", "MEL ", "x"]).class_names == ("nv", "mel", "x")
    with pytest.raises(InputError, match="at least two different names"):
        load_table(strange, classes=["a", "b", "A"])
    fewer = load_table(write_set(tmp_path / "dermamnist.npz", drawn_set(3)))
    assert fewer.class_names[0] == "class_0"
    assert set_name("dermamnist_224.npz") == "dermamnist"


def test_a_size_that_is_not_the_files(tmp_path):
    path = write_set(tmp_path / "x.npz", drawn_set(2))
    with pytest.raises(InputError, match=r"received the size 64 x 64, but .* holds pictures of 28 x 28 x 3"):
        load_table(path, size=(64, 64, 0))


def changed(**changes):
    arrays = drawn_set(3)
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    return arrays


DAMAGED = {
    "float pictures": (changed(val_images=lambda a: a.astype(float)), "val_images is 'float64'"),
    "another side": (changed(test_images=lambda a: a[:, :20]), "test_images is"),
    "four channels": (changed(train_images=lambda a: a[..., [0, 1, 2, 0]]), "holds volumes"),
    "volumes": (changed(train_images=lambda a: np.repeat(a[..., None], 28, -1)), "holds volumes"),
    "a label too few": (changed(test_labels=lambda a: a[1:]), "test_labels is 'uint8' of 27 x 1 for 28"),
    "several labels": (changed(test_labels=lambda a: np.repeat(a, 14, 1)), "several labels"),
    "labels with points": (changed(val_labels=lambda a: a + 0.5), "val_labels is 'float64'"),
    "a gap in the codes": (changed(**{f"{part}_labels": lambda a: a * 2 for part in PARTS}), "0, 2, 4"),
    "negative codes": (changed(val_labels=lambda a: a.astype(int) - 1), "the labels -1, 0"),
    "no pictures": (changed(val_images=lambda a: a[:0], val_labels=lambda a: a[:0]), "at least one picture"),
    "objects": (
        changed(train_labels=lambda a: a.astype(object)),
        "not a complete .npz|train_labels is 'object'",
    ),
    "pictures of nothing": (changed(**{f"{p}_images": lambda a: a[:, :0, :0] for p in PARTS}), "0 x 0"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_arrays_are_refused(damage, tmp_path):
    arrays, message = DAMAGED[damage]
    path = write_set(tmp_path / "mine.npz", arrays)
    with pytest.raises(InputError, match=message):
        load_table(path)


@pytest.mark.parametrize("name", [f"{part}_{what}" for part in PARTS for what in ("images", "labels")])
def test_a_missing_array_is_named(name, tmp_path):
    arrays = drawn_set(3)
    del arrays[name]
    with pytest.raises(InputError, match=f"has no array {name}"):
        load_table(write_set(tmp_path / "mine.npz", arrays))


def test_sets_that_are_no_table_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="several labels"):
        load_table(write_set(tmp_path / "chestmnist.npz", drawn_set(2, channels=1)))
    with pytest.raises(InputError, match="holds volumes"):
        load_table(write_set(tmp_path / "nodulemnist3d_64.npz", drawn_set(2, channels=1)))


def test_a_file_that_was_damaged_on_its_way(tmp_path):
    """Every byte matters, or is found: the same table is read, or one sentence says what is wrong."""
    path = write_set(tmp_path / "mine.npz", drawn_set(3, side=8))
    content, whole = path.read_bytes(), load_table(path)
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(len(content), 60, replace=False):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            table = load_table(path)
        except InputError:
            refused += 1
            continue
        np.testing.assert_array_equal(table.pixels, whole.pixels)
        np.testing.assert_array_equal(table.labels, whole.labels)
    assert refused > 30
    for end in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(InputError, match=r"not a complete \.npz file"):
            load_table(path)


def bomb(path, rows):
    """Write headers that promise pictures which are not there."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in PARTS:
            for what, shape in (("images", (rows, 28, 28, 3)), ("labels", (rows, 1))):
                head = io.BytesIO()
                described = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(head, described)
                with archive.open(f"{part}_{what}.npy", "w") as stream:
                    stream.write(head.getvalue())
                    for _ in range(int(np.prod(shape)) // 2**20):
                        stream.write(bytes(2**20))
                    stream.write(bytes(int(np.prod(shape)) % 2**20))
    return path


def test_zeros_packed_a_thousandfold_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("skinmnist.datasets.medmnist.SMALL_BYTES", 2**20)
    with pytest.raises(InputError, match="claim to unpack to"):
        load_table(bomb(tmp_path / "mine.npz", 2000))


def test_what_is_larger_than_its_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("skinmnist.datasets.medmnist.MOST_BYTES", 10**5)
    with pytest.raises(InputError, match="use a smaller size of the set"):
        load_table(write_set(tmp_path / "mine.npz", drawn_set(3)))


def test_a_header_that_lies_about_its_length(tmp_path):
    path = write_set(tmp_path / "mine.npz", drawn_set(3), packed=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"'shape': (42, 28, 28, 3)", b"'shape': (43, 28, 28, 3)"))
    with pytest.raises(InputError, match=r"not a complete \.npz file"):
        load_table(path)
