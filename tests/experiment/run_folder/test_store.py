import os

import numpy as np
import pytest

from skinmnist.experiment.cells import Cell, CellResult, Examples, Timing
from skinmnist.experiment.run_folder.store import CellStore, Provenance, digest_held_out, read_cell

CELL = Cell("SMOTE", "cnn", 0, 3)
LABELS = np.array([0, 1, 1, 0, 1])


def provenance(identity="identity", prints=None):
    """Return that of a run that holds out the same five rows again and again."""
    digest = digest_held_out(np.arange(5), LABELS, ("nv", "mel"))
    return Provenance(identity, prints or {}, ("nv", "mel"), (2, 2, 3), ((digest,) * 5,) * 2)


def result(cell=CELL, examples=True):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 2, 12)).astype(np.uint8)
    return CellResult(
        cell=cell,
        rows=np.arange(5),
        labels=LABELS,
        probabilities=rng.dirichlet([1, 1], 5),
        timing=Timing(20, 30, 0.5, 1.25, 0.125, 300.5),
        counts_before=np.array([15.0, 5.0]),
        counts_after=np.array([15.0, 15.0]),
        natural_mix=np.array([0.75, 0.25]),
        training_mix=np.array([0.5, 0.5]),
        notes=("a note with a \u201cquote\u201d",),
        history={"step": np.array([1.0, 2.0]), "loss": np.array([0.7, 0.6])},
        examples=Examples(*pixels, np.array([1, 1])) if examples else None,
    )


def as_comparable(value):
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: as_comparable(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(as_comparable(item) for item in value)
    return value


@pytest.mark.parametrize("examples", [True, False])
def test_what_is_stored_comes_back_to_the_bit(tmp_path, examples):
    store = CellStore(tmp_path / "cells", provenance())
    kept = result(examples=examples)
    store.save(kept)
    found = store.load(CELL)
    for name in kept.__dataclass_fields__:
        assert as_comparable(getattr(found, name)) == as_comparable(getattr(kept, name)), name


def test_absent(tmp_path):
    assert CellStore(tmp_path, provenance()).load(CELL) is None
    assert read_cell(tmp_path / "nothing.cell", CELL, provenance()) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_no_pipe_is_waited_for_and_no_disk_of_zeros_read(tmp_path):
    store = CellStore(tmp_path, provenance())
    os.mkfifo(store.path(CELL))
    assert store.load(CELL) is None
    store.path(CELL).unlink()
    store.path(CELL).touch()
    os.truncate(store.path(CELL), 2**40)
    assert store.load(CELL) is None


def test_every_torn_or_altered_byte_is_seen(tmp_path):
    store = CellStore(tmp_path, provenance())
    store.save(result())
    path = store.path(CELL)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        place = int(rng.integers(len(whole)))
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ (1 << int(rng.integers(8)))]) + whole[place + 1 :]
        )
        assert store.load(CELL) is None
        path.write_bytes(whole[:place])
        assert store.load(CELL) is None
    path.write_bytes(whole)
    assert store.load(CELL) is not None


def test_key_is_over_everything_that_matters(tmp_path):
    paths = {
        CellStore(tmp_path, provenance(identity, prints)).path(cell)
        for identity in ("one", "two")
        for prints in ({}, {"cnn": "x"}, {"SMOTE": "x"})
        for cell in (CELL, CELL._replace(fold=4), CELL._replace(repeat=1), CELL._replace(model="svm"))
    }
    # The fingerprint of cnn is nothing to a cell of svm.
    assert len(paths) == 2 * (3 * 3 + 2)


def test_names_of_any_kind_stay_inside_the_folder(tmp_path):
    store = CellStore(tmp_path / "cells", provenance())
    for name in ("../../up", "a/b", "a\\b", "x" * 300, "ü:*?"):
        cell = CELL._replace(model=name)
        store.save(result(cell, examples=False))
        assert store.path(cell).parent == tmp_path / "cells"
        assert store.load(cell).cell == cell


def test_a_file_under_another_cells_name_is_not_trusted(tmp_path):
    store = CellStore(tmp_path, provenance())
    store.save(result())
    other = CELL._replace(fold=4)
    store.path(CELL).rename(store.path(other))
    assert store.load(other) is None


def test_nothing_is_left_of_a_write_that_fails(tmp_path, monkeypatch):
    store = CellStore(tmp_path, provenance())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(result())
    assert list(tmp_path.iterdir()) == []
