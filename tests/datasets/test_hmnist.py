import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skinmnist import facts
from skinmnist.datasets.hmnist import find_table, load_hmnist
from skinmnist.errors import InputError


@pytest.mark.parametrize(("side", "channels"), [(28, 3), (8, 1), (5, 3), (1, 1), (1, 3), (2, 1)])
@pytest.mark.parametrize("label_first", [False, True])
def test_what_is_written_is_read(side, channels, label_first, write_table, random_table):
    pixels, labels = random_table(side, channels)
    table = load_hmnist(write_table(pixels, labels, label_first=label_first))
    np.testing.assert_array_equal(table.pixels, pixels)
    np.testing.assert_array_equal(table.labels, labels)
    assert table.pixels.dtype == np.uint8
    assert table.labels.dtype == np.int64
    assert table.shape == (side, side, channels)
    assert table.class_names == ("class_0", "class_1", "class_2")


@pytest.mark.parametrize(("column", "start"), [("pixel{}", 0), ("pixel{}", 1), ("pixel{:06d}", 0)])
def test_pixels_may_be_counted_in_other_ways(column, start, write_table, random_table):
    pixels, labels = random_table(20, 3)
    np.testing.assert_array_equal(
        load_hmnist(write_table(pixels, labels, column=column, start=start)).pixels, pixels
    )


@pytest.mark.parametrize(
    "rewrite",
    [
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, id="byte order mark"),
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), id="windows"),
        pytest.param(
            lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n").removesuffix(b"\r\n"), id="both"
        ),
        pytest.param(lambda text: text.removesuffix(b"\n"), id="no last line end"),
        pytest.param(lambda text: text.replace(b"\n", b"\r\n", 3), id="mixed line ends"),
        pytest.param(lambda text: text.replace(b",7,", b",000007,"), id="leading zeros"),
    ],
)
def test_other_ways_to_write_the_same(rewrite, write_table, random_table):
    pixels, labels = random_table(8, 3)
    path = write_table(pixels, labels)
    path.write_bytes(rewrite(path.read_bytes()))
    np.testing.assert_array_equal(load_hmnist(path).pixels, pixels)
    np.testing.assert_array_equal(load_hmnist(path).labels, labels)


def test_the_table_says_what_it_is(seven_classes):
    table = load_hmnist(str(seven_classes))
    assert table.name == "table"
    assert table.origin == "read from table.csv"
    assert table.inputs == (("table.csv", hashlib.sha256(seven_classes.read_bytes()).hexdigest()),)
    assert not table.synthetic


@pytest.mark.parametrize("cached", [True, False])
def test_pixels_are_a_read_only_map_where_they_can_be_cached(cached, seven_classes, monkeypatch):
    if not cached:
        monkeypatch.setenv("SKINMNIST_CACHE", str(seven_classes / "no folder"))
    tables = [load_hmnist(seven_classes) for _ in range(2)]
    assert [isinstance(table.pixels, np.memmap) for table in tables] == [cached, cached]
    assert tables[0].digest() == tables[1].digest()
    tables[0].labels[0] = 1  # labels are the table's own
    if cached:
        with pytest.raises(ValueError, match="read-only"):
            tables[0].pixels[0, 0] = 1


def test_more_than_256_classes_are_read(write_table):
    labels = np.arange(300)
    table = load_hmnist(write_table(np.zeros((300, 4), int), labels))
    np.testing.assert_array_equal(table.labels, labels)
    assert table.class_names[-1] == "class_299"


def test_a_file_that_is_not_there(tmp_path, complaint):
    path = tmp_path / "none.csv"
    assert complaint(path) == f"{path} does not exist; expected a CSV file, so check its name and folder"


def test_a_folder_is_no_table(tmp_path, complaint):
    assert complaint(tmp_path) == f"{tmp_path} is a folder; expected a CSV file, so name the file inside it"


def test_a_file_below_a_file(seven_classes, complaint):
    path = seven_classes / "table.csv"
    assert complaint(path) == f"{path} cannot be read (not a directory); expected a readable CSV file"


def test_a_file_that_may_not_be_read(seven_classes, monkeypatch, complaint):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert complaint(seven_classes) == (
        f"{seven_classes} cannot be read (permission denied); expected a readable CSV file"
    )


def test_loading_does_not_import_pandas():
    code = "import sys, skinmnist.datasets.hmnist; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("name", "side"), [("hmnist_28_28_RGB", 28), ("hmnist_8_8_RGB", 8)])
def test_the_real_tables(name, side, real_tables):
    table = load_hmnist(real_tables / f"{name}.csv")
    assert table.shape == (side, side, 3)
    assert table.class_names == facts.CLASS_NAMES
    assert table.class_counts.tolist() == list(facts.ROWS_PER_CLASS)
    assert table.name == name
    # One row in a thousand, read with nothing of the package.
    with (real_tables / f"{name}.csv").open() as lines:
        next(lines)
        for row, text in enumerate(lines):
            if row % 1000 == 0:
                values = [int(value) for value in text.split(",")]
                assert [*table.pixels[row].tolist(), int(table.labels[row])] == values


LARGE, SMALL = facts.TABLE_FILES


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKINMNIST_DATA", raising=False)


def make(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.usefixtures("empty_working_directory")
def test_nothing_is_found_where_nothing_is():
    assert find_table() is None


@pytest.mark.usefixtures("empty_working_directory")
def test_an_explicit_path_is_returned_as_given(tmp_path):
    make(tmp_path / "data", LARGE)
    assert str(find_table("no/such.csv")) == "no/such.csv"


@pytest.mark.usefixtures("empty_working_directory")
def test_the_larger_table_is_preferred(tmp_path):
    make(tmp_path / "data", SMALL)
    assert find_table().resolve() == tmp_path / "data" / SMALL
    make(tmp_path / "data", LARGE)
    assert find_table().resolve() == tmp_path / "data" / LARGE


@pytest.mark.usefixtures("empty_working_directory")
def test_the_named_folder_goes_before_data(tmp_path, monkeypatch):
    make(tmp_path / "data", LARGE)
    monkeypatch.setenv("SKINMNIST_DATA", str(make(tmp_path / "named", SMALL)))
    assert find_table() == tmp_path / "named" / SMALL


@pytest.mark.usefixtures("empty_working_directory")
def test_a_named_folder_without_tables_leaves_data(tmp_path, monkeypatch):
    make(tmp_path / "data", SMALL)
    monkeypatch.setenv("SKINMNIST_DATA", str(make(tmp_path / "named", "other.csv")))
    assert find_table().resolve() == tmp_path / "data" / SMALL


@pytest.mark.usefixtures("empty_working_directory")
def test_the_variable_may_name_a_file(tmp_path, monkeypatch):
    make(tmp_path / "data", LARGE)
    file = make(tmp_path / "named", "mine.csv") / "mine.csv"
    monkeypatch.setenv("SKINMNIST_DATA", str(file))
    assert find_table() == file


@pytest.mark.usefixtures("empty_working_directory")
def test_a_folder_with_a_table_name_is_no_table(tmp_path):
    make(make(tmp_path / "data", SMALL) / LARGE)
    assert find_table().resolve() == tmp_path / "data" / SMALL


@pytest.mark.usefixtures("empty_working_directory")
def test_an_empty_variable_is_no_folder(monkeypatch):
    monkeypatch.setenv("SKINMNIST_DATA", "")
    assert find_table() is None


@pytest.mark.usefixtures("empty_working_directory")
def test_a_variable_that_leads_nowhere_is_an_error(monkeypatch):
    monkeypatch.setenv("SKINMNIST_DATA", "no/such/folder")
    with pytest.raises(InputError) as error:
        find_table()
    assert str(error.value) == (
        "$SKINMNIST_DATA is 'no/such/folder', which does not exist; set it to a pixel table or to the folder "
        "that holds hmnist_28_28_RGB.csv or hmnist_8_8_RGB.csv, or unset it"
    )
