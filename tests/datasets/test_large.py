import numpy as np
import pytest

from skinmnist.datasets import cache, hmnist, large
from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.errors import InputError


@pytest.fixture
def csv(tmp_path, monkeypatch):
    """Write a table of 4 x 4 grey pictures in the way that is asked for; it counts as a large file."""
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LARGE_FILE", 50)
    monkeypatch.setattr(large, "PIECE", 100)

    def write(end="\n", last=True, mark=b"", label_first=False, spoil=None):
        cells = np.random.default_rng(0).integers(0, 256, (90, 16))
        labels = np.arange(90)[:, None] % 3
        rows = np.hstack([labels, cells] if label_first else [cells, labels])
        lines = [",".join(map(str, row)) for row in rows]
        names = [f"pixel{i}" for i in range(16)]
        lines.insert(0, ",".join(["label", *names] if label_first else [*names, "label"]))
        if spoil:
            lines[70] = spoil(lines[70])
        path = tmp_path / "table.csv"
        path.write_bytes(mark + (end.join(lines) + end * last).encode())
        return path

    return write


@pytest.mark.parametrize(
    "style",
    [{}, {"end": "\r\n"}, {"last": False}, {"mark": b"\xef\xbb\xbf"}, {"label_first": True}],
)
def test_pieces_make_the_table_that_the_whole_makes(csv, monkeypatch, style):
    path = csv(**style)
    with monkeypatch.context() as patch:
        patch.delattr(hmnist, "read_fast")
        patch.delattr(hmnist, "read_carefully")
        pieces = load_hmnist(path)
    assert isinstance(pieces.pixels, np.memmap)
    monkeypatch.setattr(cache, "LARGE_FILE", 1 << 29)
    monkeypatch.setenv("SKINMNIST_CACHE", str(path.parent / "another"))
    whole = load_hmnist(path)
    assert pieces.digest() == whole.digest()
    assert pieces.inputs == whole.inputs


def test_a_large_table_is_parsed_once(csv, monkeypatch):
    first = load_hmnist(csv())
    monkeypatch.delattr(large, "read_fast")
    assert load_hmnist(csv()).digest() == first.digest()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda line: line.replace(",", ",x", 1), "row 69"),
        (lambda line: line + ",1", "row 69"),
        (lambda line: "", "row 69"),
        (lambda line: line[:-1] + "7", "received the code 7"),
    ],
)
def test_a_fault_is_named_as_in_a_small_table(csv, spoil, said):
    with pytest.raises(InputError, match=said):
        load_hmnist(csv(spoil=spoil))


def test_leading_zeros_are_read_as_in_a_small_table(csv):
    plain = load_hmnist(csv())
    assert load_hmnist(csv(spoil=lambda line: "0000" + line)).digest() == plain.digest()
