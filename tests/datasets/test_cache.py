import io
import math
import os
import pickle
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from skinmnist import facts
from skinmnist.datasets import cache as cache_module
from skinmnist.datasets.cache import cache_folder, parse_once
from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.errors import InputError

OLD = 1_600_000_000_123_456_789


def anything(arrays):
    return True


class Parser:
    """Turns bytes into arrays and counts how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, content):
        self.calls += 1
        return {"bytes": np.frombuffer(content, np.uint8), "length": np.array([len(content)])}

    def load(self, path, kind="test-1"):
        arrays, sha256 = parse_once(path, kind, ("bytes", "length"), self, anything)
        assert arrays["length"].tolist() == [len(arrays["bytes"])]
        return arrays["bytes"].tobytes(), sha256


@pytest.fixture
def parser():
    return Parser()


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "file.csv", b"content")


def write(path, content, mtime_ns=OLD):
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def entries(cache, pattern="*"):
    return sorted(cache.glob(pattern))


def test_second_load_neither_reads_nor_parses(file, parser, monkeypatch):
    first = parser.load(file)
    monkeypatch.setattr(cache_module, "read_file", lambda path: pytest.fail("the file was read again"))
    assert parser.load(file) == first
    assert first == (b"content", "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73")
    assert parser.calls == 1


def test_arrays_are_read_only_maps_of_the_cache(file, parser, cache):
    for _ in range(2):
        arrays, _ = parse_once(file, "test-1", ("bytes", "length"), parser, anything)
        assert isinstance(arrays["bytes"], np.memmap)
        assert not arrays["bytes"].flags.writeable
        assert Path(arrays["bytes"].filename).parent == cache


def test_same_content_elsewhere_or_touched_is_not_parsed(file, parser, tmp_path):
    first = parser.load(file)
    os.utime(file, ns=(OLD + 1, OLD + 1))
    assert parser.load(file) == first
    assert parser.load(write(tmp_path / "copy.csv", b"content")) == first
    assert parser.calls == 1


def test_new_content_is_parsed(file, parser):
    parser.load(file)
    assert parser.load(write(file, b"longer content"))[0] == b"longer content"
    assert parser.load(write(file, b"CONTENT", OLD + 1))[0] == b"CONTENT"
    assert parser.calls == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of change that a program cannot set back")
def test_new_content_of_the_same_size_and_time_is_parsed(file, parser):
    parser.load(file)
    time.sleep(0.05)
    assert parser.load(write(file, b"CONTENT"))[0] == b"CONTENT"


@pytest.mark.parametrize(
    ("mtime_ns", "age_ns", "noted"),
    [
        (OLD, 1_000_000, False),
        (OLD, 60_000_000, True),
        (OLD, -60_000_000, True),
        (OLD // 10**9 * 10**9, 1_900_000_000, False),
        (OLD // 10**9 * 10**9, 2_100_000_000, True),
    ],
)
def test_no_note_is_taken_within_a_tick_of_the_clock(
    mtime_ns, age_ns, noted, file, parser, cache, monkeypatch
):
    os.utime(file, ns=(mtime_ns, mtime_ns))
    monkeypatch.setattr(cache_module.time, "time_ns", lambda: mtime_ns + age_ns)
    parser.load(file)
    assert len(entries(cache, "path-*")) == noted


def test_files_rewritten_at_once_are_never_mistaken(tmp_path, parser):
    path = tmp_path / "file.csv"
    for number in range(200):
        content = f"{number:03d}".encode()
        path.write_bytes(content)
        assert parser.load(path)[0] == content


def test_kinds_do_not_mix(file, parser):
    parser.load(file, kind="test-1")
    parser.load(file, kind="test-2")
    assert parser.calls == 2


def damage_torn(entry):
    entry.write_bytes(entry.read_bytes()[:-1])


def damage_emptied(entry):
    entry.write_bytes(b"")


def damage_three_bytes(entry):
    entry.write_bytes(b"abc")


def damage_flipped(entry):
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)


def damage_lengthened(entry):
    entry.write_bytes(entry.read_bytes() + b"\0")


def damage_foreign_array(entry):
    with entry.open("wb") as stream:
        np.save(stream, np.zeros(7, np.uint8))


def damage_removed(entry):
    entry.unlink()


def damage_folder(entry):
    entry.unlink()
    entry.mkdir()


DAMAGES = [value for name, value in globals().items() if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("pattern", ["*-bytes.npy", "*-length.npy", "path-*", "*"])
def test_a_damaged_entry_is_ignored(damage, pattern, file, parser, cache):
    first = parser.load(file)
    for entry in entries(cache, pattern):
        damage(entry)
    assert parser.load(file) == first
    assert parser.calls == (1 if pattern == "path-*" else 2)


def test_a_damaged_entry_is_rebuilt(file, parser, cache):
    parser.load(file)
    for entry in entries(cache):
        damage_flipped(entry)
    parser.load(file)
    parser.load(file)
    assert parser.calls == 2


def test_any_flipped_bit_is_seen(file, parser, cache):
    first = parser.load(file)
    (entry,) = entries(cache, "*-bytes.npy")
    whole = entry.read_bytes()
    for position in range(len(whole)):
        entry.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        assert parser.load(file) == first
    assert parser.calls == 1 + len(whole)


def test_entries_that_changed_places_are_ignored(tmp_path, parser, cache):
    one, other = write(tmp_path / "one.csv", b"one"), write(tmp_path / "other.csv", b"two")
    parser.load(one)
    parser.load(other)
    for pattern in ("path-*", "*-bytes.npy"):
        first, second = entries(cache, pattern)
        swapped = second.read_bytes(), first.read_bytes()
        first.write_bytes(swapped[0])
        second.write_bytes(swapped[1])
        assert parser.load(one)[0] == b"one"
        assert parser.load(other)[0] == b"two"


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("the cache was unpickled",)


def test_nothing_is_unpickled(file, parser, cache):
    first = parser.load(file)
    (entry,) = entries(cache, "*-bytes.npy")
    entry.write_bytes(pickle.dumps(Bomb()))
    assert parser.load(file) == first
    with entry.open("wb") as stream:
        np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
    assert parser.load(file) == first


def test_a_cache_that_cannot_be_made_costs_time_only(file, parser, tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", str(write(tmp_path / "occupied", b"") / "folder"))
    assert parser.load(file) == parser.load(file)
    assert parser.calls == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="no folder is closed to root")
def test_a_read_only_cache_costs_time_only(file, parser, cache):
    cache.chmod(0o500)
    assert parser.load(file) == parser.load(file)
    assert parser.calls == 2


@pytest.mark.parametrize("step", ["save", "replace"])
def test_a_failed_write_leaves_nothing_behind(step, file, parser, cache, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(*{"save": (np, "save"), "replace": (cache_module.Path, "replace")}[step], fail)
    assert parser.load(file)[0] == b"content"
    assert entries(cache, ".*") == []
    assert entries(cache, "*.npy") == []


def test_processes_may_write_at_once(tmp_path, cache):
    file = write(tmp_path / "file.csv", os.urandom(3_000_000))
    code = (
        "import sys, numpy; from pathlib import Path; from skinmnist.datasets.cache import parse_once\n"
        "parse = lambda content: {'bytes': numpy.frombuffer(content, numpy.uint8)}\n"
        "sys.stdin.read(1)\n"
        "arrays, _ = parse_once(Path(sys.argv[1]), 'test-1', ('bytes',), parse, bool)\n"
        "assert arrays['bytes'].tobytes() == Path(sys.argv[1]).read_bytes()\n"
    )
    command = [sys.executable, "-c", code, str(file)]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for writer in writers:
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    for writer in writers:
        _, complaint = writer.communicate(timeout=60)
        assert writer.returncode == 0, complaint.decode()
    assert len(entries(cache)) == 2
    monitored = Parser()
    parse_once(file, "test-1", ("bytes",), monitored, anything)
    assert monitored.calls == 0


def test_what_the_parser_raises_is_passed_on_and_not_stored(file, cache):
    def refuse(content):
        raise InputError("no")

    for _ in range(2):
        with pytest.raises(InputError, match="no"):
            parse_once(file, "test-1", ("bytes",), refuse, anything)
    assert entries(cache) == []


def test_without_the_variable_the_folder_is_that_of_the_platform(monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", "")
    assert cache_folder().is_absolute()
    assert "skinmnist" in cache_folder().name


def sealed(path, content):
    """Write an entry that nothing but its content gives away."""
    path.write_bytes(content + zlib.crc32(content, zlib.crc32(path.name.encode())).to_bytes(4, "little"))


def npy(array, **changed):
    """Return an array as numpy writes it, with another header where that is asked for."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=True)
    content = stream.getvalue()
    start = content.index(b"\n") + 1
    header = {"descr": "|u1", "fortran_order": False, "shape": np.shape(array)} | changed
    text = repr(header).encode() if changed else content[10 : start - 1]
    return content[:8] + (len(text) + 1).to_bytes(2, "little") + text + b"\n" + content[start:]


def sparse(path, shape):
    """Claim terabytes of zeros, and have them."""
    header = npy(np.zeros(0, np.uint8), shape=shape)
    path.write_bytes(header)
    os.truncate(path, len(header) + math.prod(shape) + 4)


def note(path, fingerprint=None, sha256=None):
    """Write a note that says something else of the same file."""
    noted = path.read_bytes()[:-4].splitlines()
    sealed(path, b"\n".join([fingerprint or noted[0], sha256 or noted[1], b""]))


def linked(path):
    content = path.read_bytes()
    path.unlink()
    path.with_name("elsewhere").write_bytes(content)
    path.symlink_to("elsewhere")


def piped(path):
    path.unlink()
    os.mkfifo(path)


def words(*received):
    return npy(np.array(received))


#: By the name of an entry: how each of its forgeries is written.
FORGED = {
    "pixels": {
        "of objects": npy(np.array([Bomb()] * 9, dtype=object)),
        "of floats": npy(np.zeros((9, 4))),
        "of one axis": npy(np.zeros(36, np.uint8)),
        "of three axes": npy(np.zeros((9, 2, 2), np.uint8)),
        "of other columns": npy(np.zeros((9, 5), np.uint8)),
        "of other rows": npy(np.zeros((8, 4), np.uint8)),
        "of no rows": npy(np.zeros((0, 4), np.uint8)),
        "in the order of columns": npy(np.asfortranarray(np.zeros((9, 4), np.uint8))),
        "of a negative shape": npy(np.zeros((9, 4), np.uint8), shape=(-9, 4)),
        "of a huge shape": npy(np.zeros((9, 4), np.uint8), shape=(1 << 60, 1 << 60)),
        "of a shape that overflows": npy(np.zeros((9, 4), np.uint8), shape=(1 << 62, 4)),
        "of more rows than bytes": npy(np.zeros((9, 4), np.uint8), shape=(900, 4)),
        "of unknown type": npy(np.zeros((9, 4), np.uint8), descr="nothing"),
        "of records": npy(np.zeros((9, 4), np.uint8), descr=[("a", "|u1")]),
        "of a nested type": npy(np.zeros((9, 4), np.uint8), descr=[("a", [("b", "|u1")] * 99)]),
        "with a deep header": npy(np.zeros((9, 4), np.uint8), descr="(" * 5000),
        "with a header of no end": b"\x93NUMPY\x01\x00\xff\xff{",
        "of another version": b"\x93NUMPY\x09\x00" + npy(np.zeros((9, 4), np.uint8))[8:],
        "of no array": b"",
        "of terabytes": lambda path: sparse(path, (1 << 20, 1 << 20)),
        "through a link": linked,
        "through a pipe": piped,
    },
    "labels": {
        "of floats": npy(np.arange(9.0)),
        "of negative codes": npy(np.array([0, 1, 2, 3, 4, 5, 6, -1, -2])),
        "with a gap": npy(np.array([0, 1, 2, 3, 4, 5, 9, 9, 9])),
        "beyond memory": npy(np.array([0, 1, 2, 3, 4, 5, 6, 1 << 62, 1])),
        "of two axes": npy(np.zeros((9, 1), np.int64)),
        "of words": words(*"abcdefghi"),
    },
    "label_names": {"in two spellings": words(*"aAbcdef")},
    "dx": {
        "of numbers": npy(np.arange(9)),
        "of bytes": npy(np.array([b"nv"] * 9)),
        "beyond Unicode": npy(np.full(9, 0x7FFFFFFF, np.uint32).view("<U1")),
        "of half characters": words(*["\ud800"] * 9),
        "of one row": words("nv"),
        "of no rows": words(),
    },
    "lesion_id": {
        "that steer a terminal": words(*["\x1b[2J"] * 9),
        "too long": words(*["a" * 500] * 9),
        "with signs that end nothing": words(*["a\0b"] * 9),
    },
    "age": {
        "of words": words(*["old"] * 9),
        "beyond life": npy(np.full(9, 1e300)),
        "of infinite years": npy(np.full(9, np.inf)),
    },
    "path": {
        "of other content": lambda path: note(path, sha256=b"0" * 64),
        "through a folder": lambda path: note(path, sha256=b"../" * 21 + b"x"),
        "of another time": lambda path: note(path, fingerprint=b"1 2 3 4"),
        "of a long line": lambda path: note(path, fingerprint=b"9" * 100_000),
        "through a link": linked,
        "through a pipe": piped,
    },
}


@pytest.mark.parametrize(
    ("entry", "forged"),
    [
        pytest.param(entry, forged, id=f"{entry}-{message}")
        for entry in FORGED
        for message, forged in FORGED[entry].items()
    ],
)
def test_a_forged_entry_under_a_right_seal_is_ignored(entry, forged, seven_classes, cache):
    os.utime(seven_classes, ns=(OLD, OLD))
    lines = [f"L{row},I{row},{facts.CLASS_NAMES[code]},{row}" for row, code in enumerate([*range(7), 3, 4])]
    metadata = seven_classes.with_name("table_metadata.csv")
    write(metadata, "\n".join(["lesion_id,image_id,dx,age", *lines]).encode())

    def load():
        table = load_hmnist(seven_classes)
        return table.digest(), table.image_ids.tolist(), table.clinical["age"].tolist()

    first = load()
    for path in entries(cache, "path-*" if entry == "path" else f"*-{entry}.npy"):
        forged(path) if callable(forged) else sealed(path, forged)
    assert load() == first
    assert load() == first
    if not callable(forged) and forged:
        assert all(path.read_bytes()[:-4] != forged for path in entries(cache, f"*-{entry}.npy"))
