import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from skinmnist import make_lesions
from skinmnist.datasets import cache, mapped
from skinmnist.datasets.mapped import MappedRows, give_back, is_large, open_passed, pass_table, row_blocks
from skinmnist.datasets.synthetic import lesions as synthetic
from skinmnist.errors import InputError


@pytest.fixture
def file(tmp_path):
    """A file of 48 MB with numbers that show their row."""
    path = tmp_path / "rows.npy"
    np.save(path, np.repeat(np.arange(16_000) % 251, 3000).astype(np.uint8).reshape(16_000, 3000))
    return path


def test_rows_are_chosen_without_being_read_and_read_as_chosen():
    source = np.arange(60, dtype=np.uint8).reshape(10, 6)
    rows = MappedRows(source, np.array([7, 1, 1, 4, 9]))
    assert (len(rows), rows.shape, rows.ndim, rows.dtype) == (5, (5, 6), 2, np.uint8)
    chosen = rows[np.array([4, 0, 1])][1:].reshape(2, 3, 2)
    assert isinstance(chosen, MappedRows)
    np.testing.assert_array_equal(np.asarray(chosen), source[[7, 1]].reshape(2, 3, 2))
    np.testing.assert_array_equal(rows[np.arange(5) % 2 == 0], source[[7, 1, 9]])
    assert np.asarray(rows, dtype=np.float32).dtype == np.float32


#: In a process of its own, whose memory nothing else changes.
READ = """
import sys
import numpy as np, psutil
from skinmnist.datasets.mapped import MappedRows, row_blocks

rows = MappedRows(np.load(sys.argv[1], mmap_mode="r"), np.arange(16_000))
before = psutil.Process().memory_info().rss
for block in row_blocks(len(rows), 1000):
    assert np.asarray(rows[block])[0, 0] == block.start % 251
print(psutil.Process().memory_info().rss - before)
"""


def test_reading_all_rows_keeps_no_page_of_the_file(file):
    run = [sys.executable, "-c", READ, str(file)]
    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert int(printed) < 16e6, "48 MB were read, 3 MB at a time"


def test_what_could_be_lost_is_not_given_back(file):
    written = np.load(file, mmap_mode="c")
    written[5] = 7
    give_back(written)
    closed = written.view()
    closed.flags.writeable = False
    give_back(closed)
    np.asarray(MappedRows(closed, np.arange(8)))
    assert (written[5] == 7).all()
    give_back(np.zeros(3))


def test_blocks_cover_all_rows_once():
    assert [(block.start, block.stop) for block in row_blocks(7, 3)] == [(0, 3), (3, 6), (6, 7)]


def mapped_table(table, path):
    np.save(path, table.pixels)
    return replace(table, pixels=np.load(path, mmap_mode="r"))


def test_a_mapped_table_is_passed_on_without_its_pixels(tmp_path, lesions):
    in_file = mapped_table(lesions, tmp_path / "pixels.npy")
    pass_table(in_file, tmp_path / "table")
    assert lesions.pixels[100].tobytes() not in (tmp_path / "table").read_bytes()
    assert open_passed(tmp_path / "table").digest() == lesions.digest()


def test_a_mapped_file_that_has_changed_is_reported(tmp_path, lesions):
    pass_table(mapped_table(lesions, tmp_path / "pixels.npy"), tmp_path / "table")
    content = bytearray((tmp_path / "pixels.npy").read_bytes())
    content[-1] ^= 1
    (tmp_path / "new.npy").write_bytes(content)
    (tmp_path / "new.npy").replace(tmp_path / "pixels.npy")
    with pytest.raises(InputError, match=r"pixels\.npy changed during the run"):
        open_passed(tmp_path / "table")
    (tmp_path / "pixels.npy").unlink()
    with pytest.raises(InputError, match=r"pixels\.npy changed"):
        open_passed(tmp_path / "table")


def test_what_was_written_into_a_private_map_is_passed_on(tmp_path, lesions):
    np.save(tmp_path / "pixels.npy", lesions.pixels)
    pixels = np.load(tmp_path / "pixels.npy", mmap_mode="c")
    pixels[3] = 9
    pass_table(replace(lesions, pixels=pixels), tmp_path / "table")
    assert (open_passed(tmp_path / "table").pixels[3] == 9).all()


@pytest.mark.parametrize("part", [slice(None), slice(7, None)])
def test_any_other_table_is_passed_on_whole(tmp_path, lesions, part):
    in_file = mapped_table(lesions, tmp_path / "pixels.npy")
    rows = np.arange(len(lesions))[part]
    # A view of a map does not show where in the file it begins.
    table = replace(lesions.take(rows), pixels=in_file.pixels[part])
    pass_table(table, tmp_path / "table")
    (tmp_path / "pixels.npy").rename(tmp_path / "away.npy")
    assert open_passed(tmp_path / "table").digest() == lesions.take(rows).digest()


@pytest.fixture
def large(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mapped, "LARGE_BYTES", 0)
    return lambda: make_lesions(200, size=8, random_state=4)


def test_a_large_table_is_rendered_into_the_cache_once(large, monkeypatch):
    table = large()
    assert isinstance(table.pixels, np.memmap)
    assert not table.pixels.flags.writeable
    monkeypatch.delattr(synthetic, "render")
    assert large().digest() == table.digest()
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "_rendering_digest", lambda origin: "of another code")
        with pytest.raises(NameError):
            large()
    monkeypatch.undo()
    assert make_lesions(200, size=8, random_state=4).digest() == table.digest()


def test_a_large_table_is_rendered_into_memory_where_there_is_no_cache(large, monkeypatch):
    def fail(stream, shape, blocks):
        next(iter(blocks))
        raise OSError("disk full")

    monkeypatch.setattr(cache, "write_blocks", fail)
    table = large()
    assert not isinstance(table.pixels, np.memmap)
    monkeypatch.undo()
    assert make_lesions(200, size=8, random_state=4).digest() == table.digest()


def test_a_table_is_large_by_its_bytes_or_its_rows(lesions, monkeypatch):
    assert not is_large(lesions)
    monkeypatch.setattr(mapped, "LARGE_ROWS", len(lesions) - 1)
    assert is_large(lesions)
    monkeypatch.undo()
    monkeypatch.setattr(mapped, "LARGE_BYTES", lesions.pixels.nbytes - 1)
    assert is_large(lesions)


HOLES = """
import psutil
from skinmnist.datasets.mapped import trim_memory
arrays = [bytearray(64_000) for _ in range(4_000)]
last = arrays.pop()
del arrays
before = psutil.Process().memory_info().rss
trim_memory()
print((before - psutil.Process().memory_info().rss) / 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked for its memory")
def test_freed_memory_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 100
