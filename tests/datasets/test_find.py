import pytest

from skinmnist import facts
from skinmnist.datasets.find import find_table
from skinmnist.errors import InputError

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


def test_nothing_is_found_where_nothing_is():
    assert find_table() is None


def test_an_explicit_path_is_returned_as_given(tmp_path):
    make(tmp_path / "data", LARGE)
    assert str(find_table("no/such.csv")) == "no/such.csv"


def test_the_larger_table_is_preferred(tmp_path):
    make(tmp_path / "data", SMALL)
    assert find_table().resolve() == tmp_path / "data" / SMALL
    make(tmp_path / "data", LARGE)
    assert find_table().resolve() == tmp_path / "data" / LARGE


def test_the_named_folder_goes_before_data(tmp_path, monkeypatch):
    make(tmp_path / "data", LARGE)
    monkeypatch.setenv("SKINMNIST_DATA", str(make(tmp_path / "named", SMALL)))
    assert find_table() == tmp_path / "named" / SMALL


def test_a_named_folder_without_tables_leaves_data(tmp_path, monkeypatch):
    make(tmp_path / "data", SMALL)
    monkeypatch.setenv("SKINMNIST_DATA", str(make(tmp_path / "named", "other.csv")))
    assert find_table().resolve() == tmp_path / "data" / SMALL


def test_the_variable_may_name_a_file(tmp_path, monkeypatch):
    make(tmp_path / "data", LARGE)
    file = make(tmp_path / "named", "mine.csv") / "mine.csv"
    monkeypatch.setenv("SKINMNIST_DATA", str(file))
    assert find_table() == file


def test_a_folder_with_a_table_name_is_no_table(tmp_path):
    make(make(tmp_path / "data", SMALL) / LARGE)
    assert find_table().resolve() == tmp_path / "data" / SMALL


def test_an_empty_variable_is_no_folder(monkeypatch):
    monkeypatch.setenv("SKINMNIST_DATA", "")
    assert find_table() is None


def test_a_variable_that_leads_nowhere_is_an_error(monkeypatch):
    monkeypatch.setenv("SKINMNIST_DATA", "no/such/folder")
    with pytest.raises(InputError) as error:
        find_table()
    assert str(error.value) == (
        "$SKINMNIST_DATA is 'no/such/folder', which does not exist; set it to a pixel table or to the folder "
        "that holds hmnist_28_28_RGB.csv or hmnist_8_8_RGB.csv, or unset it"
    )
