import hashlib
import io
import stat
import sys
import types
import zipfile
from contextlib import suppress
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest

from skinmnist import facts
from skinmnist.datasets.download.collection import default_folder, download, extract, largest_files, read_sums
from skinmnist.datasets.download.fetch import Expected
from skinmnist.datasets.hmnist import find_table, load_hmnist
from skinmnist.datasets.images.building import kaggle_targets
from skinmnist.errors import InputError

NAMES = (*facts.COLLECTION_TABLES, facts.METADATA_FILE)


@pytest.fixture
def served(collection, mirror):
    mirror.files = {f"/ham/{name}": content for name, content in collection.items()}
    return mirror


def refused(*arguments, **more):
    with pytest.raises(InputError) as error:
        download(*arguments, **more)
    assert "\n" not in str(error.value)
    return str(error.value)


def held(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_no_file_of_the_collection_can_be_larger_than_its_limit(real_tables):
    limits = largest_files()
    assert set(limits) == set(NAMES)
    assert {target.path.name for target in kaggle_targets(real_tables)} == set(facts.COLLECTION_TABLES)
    for name in (*facts.TABLE_FILES, facts.METADATA_FILE):
        assert (real_tables / name).stat().st_size <= limits[name].largest


@pytest.mark.parametrize("end", ["/ham", "/ham/"])
def test_a_folder_of_a_mirror(end, served, collection, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKINMNIST_DATA", raising=False)
    done = download(default_folder(), served.url + end)
    assert (done.fetched, done.there, done.missing) == (NAMES, (), ())
    assert held(tmp_path / "data") == collection
    table = load_hmnist(find_table())
    assert table.name == "hmnist_28_28_RGB"
    assert table.n_lesions == 7
    served.asked.clear()
    assert download(default_folder(), served.url + end).there == NAMES
    assert served.asked == []


def test_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_DATA", str(tmp_path))
    assert default_folder() == tmp_path
    (tmp_path / "t.csv").touch()
    monkeypatch.setenv("SKINMNIST_DATA", str(tmp_path / "t.csv"))
    with pytest.raises(InputError, match="expected a folder, so name one with --to"):
        default_folder()


def test_grey_tables_may_be_missing_and_others_may_not(served, tmp_path):
    for name in ("hmnist_28_28_L.csv", "hmnist_8_8_L.csv"):
        del served.files[f"/ham/{name}"]
    assert download(tmp_path, f"{served.url}/ham").missing == ("hmnist_28_28_L.csv", "hmnist_8_8_L.csv")
    del served.files["/ham/hmnist_8_8_RGB.csv"]
    (tmp_path / "hmnist_8_8_RGB.csv").unlink()
    assert "does not hold hmnist_8_8_RGB.csv; expected a mirror" in refused(tmp_path, f"{served.url}/ham")


def test_a_page_instead_of_a_table_is_thrown_away(served, collection, tmp_path):
    for name in (facts.TABLE_FILES[0], facts.METADATA_FILE):
        served.files[f"/ham/{name}"] = b"<!doctype html>\n<title>Please log in</title>"
        assert f"the download is not a valid {name} and was rejected" in refused(
            tmp_path, f"{served.url}/ham"
        )
        assert name not in held(tmp_path)
        served.files[f"/ham/{name}"] = collection[name]


def test_an_oversized_file_is_thrown_away(served, collection, tmp_path):
    name = "hmnist_8_8_L.csv"
    limit = largest_files()[name].largest
    served.files[f"/ham/{name}"] = collection[name] + bytes(limit)
    assert f"expected at most {limit:,}" in refused(tmp_path, f"{served.url}/ham")
    assert not any(path.startswith(name) for path in held(tmp_path))


def test_sums_beside_the_files_and_sums_that_are_handed_over(served, tmp_path):
    served.files["/ham/SHA256SUMS"] = b"0" * 64 + b" *./hmnist_28_28_RGB.csv\n"
    assert "expected 000000" in refused(tmp_path, f"{served.url}/ham")
    assert held(tmp_path) == {}
    served.files["/ham/SHA256SUMS"] = b"<html>"
    assert "SHA256SUMS, line 1 is not a SHA-256 followed by a name" in refused(tmp_path, f"{served.url}/ham")
    del served.files["/ham/SHA256SUMS"]
    sums = {facts.METADATA_FILE: "1" * 64}
    assert "expected 111111" in refused(tmp_path, f"{served.url}/ham", sums=sums)
    assert set(held(tmp_path)) == set(facts.COLLECTION_TABLES)


def test_sums_are_read_as_sha256sum_writes_them(tmp_path):
    path = tmp_path / "sums"
    path.write_bytes(f"{'a' * 64}  a b.csv\n{'B' * 64} *./c.csv\r\n\\{'c' * 64}  x\\\\d.csv\n".encode())
    assert read_sums(path) == {"a b.csv": "a" * 64, "c.csv": "b" * 64, "d.csv": "c" * 64}
    # Of other folders' files of one name, none is ours.
    path.write_text(f"{'a' * 64}  x/README\n{'b' * 64}  y/README\n")
    assert read_sums(path) == {"README": "a" * 64}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_an_archive_of_a_mirror(served, collection, tmp_path):
    pictures = {f"HAM10000_images_part_1/ISIC_{number}.jpg": bytes(99) for number in range(9)}
    served.files["/archive.zip"] = zipped(collection | pictures)
    served.cuts["/archive.zip"] = [1000]
    assert download(tmp_path, f"{served.url}/archive.zip?version=2").fetched == NAMES
    assert held(tmp_path) == collection
    assert [asked for _, asked in served.asked] == [None, "bytes=1000-"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda files: files | {"../hmnist_28_28_RGB.csv": b"x"}, "points out of the archive"),
        (lambda files: files | {"x/hmnist_28_28_RGB.csv": b"x"}, "appears more than once"),
        (lambda files: files | {facts.METADATA_FILE: bytes(2**24)}, "which is too large"),
        (
            lambda files: files | {facts.METADATA_FILE: b"<html>"},
            "is not a valid HAM10000_metadata.csv",
        ),
        (lambda files: {"README.md": b"x"}, "does not hold hmnist_28_28_RGB.csv, hmnist_8_8_RGB.csv"),
    ],
)
def test_hostile_archives_leave_nothing(spoil, message, served, collection, tmp_path):
    served.files["/a.zip"] = zipped(spoil(collection))
    folder = tmp_path / "out"
    assert message in refused(folder, f"{served.url}/a.zip")
    assert held(folder) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("as_address", [True, False])
def test_a_folder_or_an_archive_of_this_machine(packed, as_address, collection, tmp_path):
    source, out = tmp_path / "my own.zip" if packed else tmp_path / "my own", tmp_path / "out"
    if packed:
        source.write_bytes(zipped(collection))
    else:
        source.mkdir()
        for name, content in collection.items():
            (source / name).write_bytes(content)
    before = source.stat()
    done = download(out, source.as_uri() if as_address else str(source))
    assert done.fetched == NAMES
    assert len(done.notes) == len(NAMES)
    assert held(out) == collection
    assert source.stat()[:6] == before[:6]


def test_sums_of_what_is_on_this_machine(collection, tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped(collection))
    assert "expected 222" in refused(tmp_path / "out", str(archive), sums={"a.zip": "2" * 64})
    sums = {"a.zip": hashlib.sha256(archive.read_bytes()).hexdigest()}
    assert download(tmp_path / "out", str(archive), sums=sums).notes == ()
    (tmp_path / "SHA256SUMS").write_text(f"{'3' * 64}  x/{NAMES[0]}\n")
    (tmp_path / NAMES[0]).write_bytes(collection[NAMES[0]])
    assert "expected 333" in refused(tmp_path / "new", str(tmp_path))
    assert held(tmp_path / "new") == {}


def test_a_single_file_of_this_machine_completes_a_folder(collection, tmp_path):
    source, out = tmp_path / NAMES[0], tmp_path / "out"
    source.write_bytes(collection[NAMES[0]])
    alone = download(out, str(source))
    assert (alone.fetched, alone.missing) == (NAMES[:1], NAMES[1:])
    other = tmp_path / NAMES[-1]  # Metadata alone are of no use.
    other.write_bytes(collection[NAMES[-1]])
    assert "does not hold hmnist_28_28_RGB.csv" in refused(tmp_path / "new", str(other))
    for name in NAMES[1:]:
        (out / name).write_bytes(collection[name])
    (out / NAMES[0]).unlink()
    assert download(out, str(source)).fetched == NAMES[:1]
    assert held(out) == collection


def test_an_archive_that_was_cut_off_for_good(served, collection, tmp_path):
    served.files["/a.zip"] = zipped(collection)[:-100]
    assert "is not a complete zip archive" in refused(tmp_path, f"{served.url}/a.zip")
    served.files["/a.zip"] = zipped(collection)
    assert "expected 222" in refused(tmp_path, f"{served.url}/a.zip", sums={"a.zip": "2" * 64})
    assert held(tmp_path) == {}


@pytest.fixture
def kaggle(collection, tmp_path, monkeypatch):
    """A stand-in for kagglehub that hands files out of a folder."""
    cache = tmp_path / "kagglehub"
    cache.mkdir()
    for name, content in collection.items():
        # Large files come zipped.
        (cache / name).write_bytes(zipped({name: content}) if "28_28_RGB" in name else content)

    def dataset_download(handle, path):
        assert handle == "kmader/skin-cancer-mnist-ham10000"
        if not (cache / path).exists():
            raise RuntimeError("403 Client Error.\n\nYou don't have permission")
        return str(cache / path)

    module = types.ModuleType("kagglehub")
    module.dataset_download = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return cache


def test_from_kaggle(kaggle, collection, tmp_path):
    folder = tmp_path / "out"
    assert download(folder).fetched == NAMES
    assert held(folder) == collection


def test_kaggle_refuses(kaggle, tmp_path):
    (kaggle / "hmnist_8_8_RGB.csv").unlink()
    message = refused(tmp_path / "out")
    reason = "403 Client Error. You don't have permission"
    assert f"Kaggle did not provide hmnist_8_8_RGB.csv ({reason})" in message
    assert set(held(tmp_path / "out")) == {"hmnist_28_28_RGB.csv"}


def test_kaggle_gives_something_else(kaggle, tmp_path):
    message = refused(tmp_path / "out", sums={"hmnist_8_8_RGB.csv": "3" * 64})
    assert "expected 333" in message
    (kaggle / "hmnist_8_8_RGB.csv").write_text("<html>")
    assert "the download is not a valid hmnist_8_8_RGB.csv" in refused(tmp_path / "out")
    assert set(held(tmp_path / "out")) == {"hmnist_28_28_RGB.csv"}


def test_without_kagglehub(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert "pip install 'skinmnist[download]'" in refused(tmp_path)


EXPECTED = {"a.csv": Expected(100), "b.csv": Expected(100)}


@pytest.fixture
def pack(tmp_path):
    def pack(*members):
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, catch_warnings():
            simplefilter("ignore")  # zipfile warns of doubled names
            for name, content in members:
                archive.writestr(name, content)
        return path

    return pack


@pytest.fixture
def out(tmp_path):
    (tmp_path / "deep" / "out").mkdir(parents=True)
    return tmp_path / "deep" / "out"


def not_extracted(archive, out, expected=EXPECTED):
    before = sorted(out.parent.parent.rglob("*"))
    with pytest.raises(InputError) as error:
        extract(archive, out, expected)
    assert sorted(out.parent.parent.rglob("*")) == before
    return str(error.value)


def test_only_expected_members_come_out(pack, out):
    archive = pack(
        ("b.csv", b"bb"), ("evil.py", b"x"), ("HAM/a.csv", b"aa"), ("../../up.txt", b"x"), ("c/", b"")
    )
    assert extract(archive, out, EXPECTED) == ["a.csv", "b.csv"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"a.csv": b"aa", "b.csv": b"bb"}
    assert not (out.parent.parent / "up.txt").exists()


@pytest.mark.parametrize("name", ["../a.csv", "x/../../a.csv", "/a.csv", "..\\a.csv", "C:/a.csv"])
def test_paths_that_lead_out_are_not_extracted(name, pack, out):
    assert "points out of the archive" in not_extracted(pack((name, b"aa")), out)


def test_links_are_not_extracted(pack, out):
    link = zipfile.ZipInfo("a.csv")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    assert "is a link" in not_extracted(pack((link, b"/etc/passwd")), out)


def test_bombs_are_refused_whatever_their_header_says(pack, out):
    archive = pack(("a.csv", bytes(10_000_000)))
    assert archive.stat().st_size < 20_000
    assert "more than 100 bytes" in not_extracted(archive, out)
    content = archive.read_bytes()
    size = (10_000_000).to_bytes(4, "little")
    assert content.count(size) == 2
    archive.write_bytes(content.replace(size, (50).to_bytes(4, "little")))
    assert not_extracted(archive, out)


def test_doubled_members_are_not_extracted(pack, out):
    assert "appears more than once" in not_extracted(pack(("a.csv", b"1"), ("x/a.csv", b"2")), out)
    assert "appears more than once" in not_extracted(pack(("a.csv", b"1"), ("a.csv", b"2")), out)


def test_encrypted_members_are_not_extracted(pack, out):
    archive = pack(("a.csv", b"aa"))
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "is encrypted" in not_extracted(archive, out)


def test_other_content_is_not_extracted(pack, out):
    digest = hashlib.sha256(b"aa").hexdigest()
    expected = {"a.csv": Expected(100, digest.upper())}
    assert "has the SHA-256" in not_extracted(pack(("a.csv", b"ab")), out, expected)
    assert extract(pack(("a.csv", b"aa")), out, expected) == ["a.csv"]


def test_damaged_archives_are_not_extracted(pack, out):
    archive = pack(("a.csv", bytes(range(90))))
    whole = archive.read_bytes()
    for length in range(0, len(whole), 7):
        archive.write_bytes(whole[:length])
        assert "is not a complete zip archive" in not_extracted(archive, out)
    middle = whole.index(b"a.csv") + 40
    archive.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert "is not a complete zip archive" in not_extracted(archive, out)


def test_altered_bytes_end_in_a_sentence(tmp_path, out):
    """Of every method of packing, and in names that claim to be UTF-8."""
    random = np.random.default_rng(0)
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        archive = tmp_path / "archive.zip"
        with zipfile.ZipFile(archive, "w", method) as opened:
            opened.writestr("\u00e9/a.csv", bytes(range(90)))
        whole = archive.read_bytes()
        for _ in range(100):
            content = bytearray(whole)
            content[random.integers(len(content))] = random.integers(256)
            archive.write_bytes(content)
            with suppress(InputError):
                extract(archive, out, EXPECTED)
