import hashlib
import stat
import zipfile
from contextlib import suppress
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest

from skinmnist.datasets.download.archives import extract
from skinmnist.datasets.download.fetch import Expected
from skinmnist.errors import InputError

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


def refused(archive, out, expected=EXPECTED):
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
def test_paths_that_lead_out_are_refused(name, pack, out):
    assert "points out of the archive" in refused(pack((name, b"aa")), out)


def test_links_are_refused(pack, out):
    link = zipfile.ZipInfo("a.csv")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    assert "is a link" in refused(pack((link, b"/etc/passwd")), out)


def test_bombs_are_refused_whatever_their_header_says(pack, out):
    archive = pack(("a.csv", bytes(10_000_000)))
    assert archive.stat().st_size < 20_000
    assert "more than 100 bytes" in refused(archive, out)
    content = archive.read_bytes()
    size = (10_000_000).to_bytes(4, "little")
    assert content.count(size) == 2
    archive.write_bytes(content.replace(size, (50).to_bytes(4, "little")))
    assert refused(archive, out)


def test_doubled_members_are_refused(pack, out):
    assert "stands there twice" in refused(pack(("a.csv", b"1"), ("x/a.csv", b"2")), out)
    assert "stands there twice" in refused(pack(("a.csv", b"1"), ("a.csv", b"2")), out)


def test_encrypted_members_are_refused(pack, out):
    archive = pack(("a.csv", b"aa"))
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "is encrypted" in refused(archive, out)


def test_other_content_is_refused(pack, out):
    digest = hashlib.sha256(b"aa").hexdigest()
    expected = {"a.csv": Expected(100, digest.upper())}
    assert "has the SHA-256" in refused(pack(("a.csv", b"ab")), out, expected)
    assert extract(pack(("a.csv", b"aa")), out, expected) == ["a.csv"]


def test_damaged_archives_are_refused(pack, out):
    archive = pack(("a.csv", bytes(range(90))))
    whole = archive.read_bytes()
    for length in range(0, len(whole), 7):
        archive.write_bytes(whole[:length])
        assert "is no whole zip archive" in refused(archive, out)
    middle = whole.index(b"a.csv") + 40
    archive.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert "is no whole zip archive" in refused(archive, out)


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
