"""A disk that fails while a run writes: a clear error or a cell computed again, never a wrong table."""

import errno
import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest

from skinmnist import run_comparison
from skinmnist.datasets import files
from skinmnist.errors import InputError
from skinmnist.experiment.execution import local
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.run_folder.record import read_info


class FaultyFile(io.BufferedWriter):
    """Writes half of what it is given before it fails."""

    def __init__(self, descriptor, disk):
        super().__init__(io.FileIO(descriptor, "wb"))
        self.disk = disk

    def write(self, content):
        if self.disk.strikes():
            super().write(content[: len(content) // 2])
            raise self.disk.error()
        return super().write(content)


class FaultyDisk:
    """Stands where ``files`` sees ``os``; write, sync or rename number `strike` fails, once or for good."""

    def __init__(self, strike, code=errno.ENOSPC, lasting=False):
        self.strike, self.code, self.lasting = strike, code, lasting
        self.calls = 0

    def strikes(self):
        self.calls += 1
        return self.calls == self.strike or (self.lasting and self.calls > self.strike)

    def error(self):
        return OSError(self.code, os.strerror(self.code))

    def fdopen(self, descriptor, mode):
        return FaultyFile(descriptor, self)

    def fsync(self, descriptor):
        if self.strikes():
            raise self.error()
        os.fsync(descriptor)

    def __getattr__(self, name):
        return getattr(os, name)


class FaultyPath(type(Path())):
    disk = None

    def replace(self, target):
        if self.disk.strikes():
            raise self.disk.error()
        return super().replace(target)


def in_this_process(cells, table, task, *more, **others):
    for cell in cells:
        yield fit_cell(cell, table, task)


def contents(folder):
    return {
        name: read((folder / name).read_bytes())
        for name, read in (("scores.csv", bytes), ("predictions.csv.gz", gzip.decompress))
        if (folder / name).exists()
    }


@pytest.fixture
def run(lesions, monkeypatch):
    """Run two cells into a folder, on a disk that fails or on a sound one."""
    monkeypatch.setattr(local, "run_cells", in_this_process)

    def run(folder, disk=None):
        with monkeypatch.context() as patch:
            if disk is not None:
                patch.setattr(files, "os", disk)
                patch.setattr(files, "Path", FaultyPath)
                patch.setattr(FaultyPath, "disk", disk)
            return run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=folder)

    return run


def strikes(run, folder):
    disk = FaultyDisk(strike=0)
    run(folder, disk)
    return range(1, disk.calls + 1)


def check_every_strike(run, tmp_path, codes, step):
    """Let calls fail, every so many of them, once and for good; return how many failed runs there were."""
    whole, broken = None, 0
    for code in codes:
        for lasting in (False, True):
            for strike in strikes(run, tmp_path / f"whole-{code}-{lasting}")[::step]:
                whole = whole or contents(tmp_path / f"whole-{code}-{lasting}")
                folder = tmp_path / f"{code}-{lasting}-{strike}"
                with pytest.raises((OSError, InputError), match=os.strerror(code)):
                    run(folder, FaultyDisk(strike, code, lasting))
                left = contents(folder)
                assert left.items() <= whole.items(), f"a wrong table after failure {strike}"
                assert not list(folder.rglob(".*.*")), f"half a file after failure {strike}"
                if (folder / "run.json").exists():
                    assert read_info(folder).interrupted is True or left == whole
                run(folder)
                assert contents(folder) == whole, f"another table after failure {strike}"
                broken += 1
    return broken


def test_a_few_failures_of_each_kind(run, tmp_path):
    # A step that no kind of call keeps pace with: write, sync, rename and the folder's sync take turns.
    check_every_strike(run, tmp_path, [errno.ENOSPC], step=13)


@pytest.mark.slow
def test_every_failure_of_every_call(run, tmp_path):
    broken = check_every_strike(run, tmp_path, [errno.ENOSPC, errno.EIO], step=1)
    print(f"\n{broken} runs with a failing write, sync or rename: none left a wrong table")


def damage(path, rng):
    whole = path.read_bytes()
    place = int(rng.integers(len(whole)))
    if rng.integers(2):
        path.write_bytes(whole[:place])
    else:
        flipped = bytes([whole[place] ^ (1 << int(rng.integers(8)))])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])


def check_damaged_cells(lesions, folder, monkeypatch, rounds, repeats):
    """Damage every cell of a run again and again; each must be computed again."""
    monkeypatch.setattr(local, "run_cells", in_this_process)

    def run():
        return run_comparison(lesions, "none", "dummy", folds=5, repeats=repeats, jobs=1, out=folder)

    run()
    whole, rng, again = contents(folder), np.random.default_rng(0), 0
    for _ in range(rounds):
        for path in (folder / "cells").glob("*.cell"):
            damage(path, rng)
        before = len(read_info(folder).sessions)
        record = run()
        assert len(record.info.sessions) == before + 1
        again += record.info.sessions[-1].new_cells
        assert contents(folder) == whole
    assert again == rounds * 5 * repeats
    return again


def test_damaged_cells_are_computed_again(lesions, tmp_path, monkeypatch):
    assert check_damaged_cells(lesions, tmp_path, monkeypatch, rounds=2, repeats=2) == 20


@pytest.mark.slow
def test_a_thousand_damaged_cells_are_computed_again(lesions, tmp_path, monkeypatch):
    again = check_damaged_cells(lesions, tmp_path, monkeypatch, rounds=10, repeats=20)
    print(f"\n{again:,} damaged cell files, all computed again")
    assert again == 1000


def test_a_disk_that_cannot_be_read_does_not_make_results(run, tmp_path, monkeypatch):
    run(tmp_path)
    whole = contents(tmp_path)
    read = Path.read_bytes

    def torn(path):
        if path.suffix == ".cell":
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", torn)
        record = run(tmp_path)
    assert {failure.reason for failure in record.failures} == {
        "its file is missing, damaged, or from another run, data or code; run the comparison again"
    }
    assert len(record.scores) == 0
    run(tmp_path)
    assert contents(tmp_path) == whole
