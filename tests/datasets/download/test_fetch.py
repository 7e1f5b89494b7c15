import hashlib

import pytest

from skinmnist.datasets.download import fetch as fetch_module
from skinmnist.datasets.download.fetch import Expected, NotThereError, fetch
from skinmnist.errors import InputError

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def served(mirror, monkeypatch):
    monkeypatch.setattr(fetch_module, "_STEP", 10_000)
    mirror.files["/a.csv"] = CONTENT
    return mirror


@pytest.fixture
def get(served, tmp_path):
    """Return a fetcher of /a.csv, with the limits that are given."""

    def get(largest=1_024_000, sha256=None, **more):
        return fetch(f"{served.url}/a.csv", tmp_path / "a.csv", Expected(largest, sha256), **more)

    return get


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(get, *arguments, **more):
    with pytest.raises(InputError) as error:
        get(*arguments, **more)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_comes_whole_and_its_progress_is_reported(get, tmp_path):
    seen = []
    get(sha256=hashlib.sha256(CONTENT).hexdigest(), on_progress=lambda *now: seen.append(now))
    assert (tmp_path / "a.csv").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.csv"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 50


def test_a_connection_that_breaks_is_taken_up_where_it_broke(get, served, tmp_path):
    served.cuts["/a.csv"] = [300_000, 300_000]
    get()
    assert (tmp_path / "a.csv").read_bytes() == CONTENT
    assert served.asked == [("/a.csv", range_) for range_ in (None, "bytes=300000-", "bytes=600000-")]


def test_the_next_call_resumes_what_is_stored(get, served, tmp_path):
    served.cuts["/a.csv"] = [200_000, 0, 0, 0]
    assert "broke off (200,000 of 1,024,000 bytes); run the same command again to resume" in refused(get)
    assert names(tmp_path) == ["a.csv.part", "a.csv.part.json"]
    served.asked.clear()
    get()
    assert (tmp_path / "a.csv").read_bytes() == CONTENT
    assert served.asked == [("/a.csv", "bytes=200000-")]
    assert names(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    "note",
    [
        b"[]",
        b"{" * 100_000,
        b'{"total": %s}' % (b"9" * 5000),
        b'{"url": "%s/a.csv", "version": {}, "total": "x"}',
        b"\xff",
    ],
)
def test_a_damaged_note_of_the_version_starts_anew(note, get, served, tmp_path):
    (tmp_path / "a.csv.part").write_bytes(b"mine")
    (tmp_path / "a.csv.part.json").write_bytes(note.replace(b"%s", served.url.encode()))
    get()
    assert served.asked == [("/a.csv", None)]
    assert (tmp_path / "a.csv").read_bytes() == CONTENT


def test_what_had_come_whole_but_has_no_name_yet(get, served, tmp_path):
    served.cuts["/a.csv"] = [200_000, 0, 0, 0]
    refused(get)
    (tmp_path / "a.csv.part").write_bytes(CONTENT)
    served.raw["/a.csv"] = [b"HTTP/1.0 416 Range Not Satisfiable\r\n\r\n"]
    assert ["was restarted" in note for note in get()] == [True]
    assert (tmp_path / "a.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["content", "no ranges", "no tags", "another address"])
def test_what_cannot_be_gone_on_with_starts_anew(change, get, served, tmp_path):
    served.tags = change != "no tags"
    served.cuts["/a.csv"] = [200_000, 0, 0, 0]
    refused(get)
    expected = CONTENT
    if change == "content":
        expected = served.files["/a.csv"] = CONTENT[::-1]
    if change == "another address":
        expected = served.files["/b.csv"] = CONTENT[::-1]
        fetch(f"{served.url}/b.csv", tmp_path / "a.csv", Expected(len(CONTENT)))
    served.ranges = change != "no ranges"
    get() if change != "another address" else None
    assert (tmp_path / "a.csv").read_bytes() == expected
    assert names(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_that_is_too_long_is_deleted(announced, get, served, tmp_path):
    if not announced:
        served.silent.add("/a.csv")
    expected = (
        "1,024,000 bytes; expected at most 50,000"
        if announced
        else "more than 50,000 bytes; expected at most"
    )
    assert expected in refused(get, 50_000)
    assert names(tmp_path) == []


def test_a_file_of_other_content_is_deleted(get, tmp_path):
    assert "expected 0000" in refused(get, sha256="0" * 64)
    assert names(tmp_path) == []


def test_a_check_of_the_content_decides(get, tmp_path):
    def check(path):
        assert path.read_bytes() == CONTENT
        raise InputError("no such thing")

    assert refused(get, check=check) == "no such thing"
    assert names(tmp_path) == []


def test_a_length_that_is_not_announced_is_no_fault(get, served, tmp_path):
    served.silent.add("/a.csv")
    get()
    assert (tmp_path / "a.csv").read_bytes() == CONTENT


def test_what_is_not_there_is_reported(served, tmp_path):
    with pytest.raises(NotThereError, match="does not exist"):
        fetch(f"{served.url}/none.csv", tmp_path / "a.csv", Expected(9))
    served.shutdown()
    assert names(tmp_path) == []


def test_nobody_answers(tmp_path):
    with pytest.raises(InputError, match="broke off"):
        fetch("http://127.0.0.1:9/a.csv", tmp_path / "a.csv", Expected(9))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "a.csv", "http:///a"])
def test_other_kinds_of_addresses_are_refused(url, tmp_path):
    with pytest.raises(InputError, match="expected one that begins with http"):
        fetch(url, tmp_path / "a.csv", Expected(9))


def test_redirects_are_followed_within_the_web_only(get, served, tmp_path):
    served.redirects["/a.csv"] = "/c.csv"
    served.files["/c.csv"] = b"moved"
    get()
    assert (tmp_path / "a.csv").read_bytes() == b"moved"
    secret = tmp_path / "secret"
    secret.write_text("secret")
    served.redirects["/a.csv"] = secret.as_uri()
    refused(get)
    assert (tmp_path / "a.csv").read_bytes() == b"moved"


def test_a_full_disk_is_no_matter_of_the_connection(get, served, monkeypatch):
    def fail(url, part, answer):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch_module, "_note_version", fail)
    with pytest.raises(OSError, match="No space left"):
        get()
    assert len(served.asked) == 1
