"""A comparison from Python: what it leaves, and what a run shows."""

import inspect

import pytest

from skinmnist import Progress, read_run, run_comparison
from skinmnist.analysis.analyze import TABLES, analyze_run
from skinmnist.experiment import comparison


class Interrupting(Progress):
    """A progress that interrupts the run after its first cell."""

    def planned(self, cells, stored, notes):
        pass

    def waiting(self, folder):
        pass

    def finished(self, outcome, seconds_left):
        raise KeyboardInterrupt


def tables_of(folder):
    return {name: (folder / f"{name}.csv").read_bytes() for name in TABLES}


def test_a_run_leaves_the_tables_of_its_analysis(lesions, tmp_path):
    run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=tmp_path / "run")
    left = tables_of(tmp_path / "run")
    analyze_run(read_run(tmp_path / "run"), tmp_path / "again")
    assert tables_of(tmp_path / "again") == left
    assert b"always" not in left["comparisons"]
    assert left["intervals"].count(b"macro_f1") == 2  # The pair and its prior correction.


def test_an_interrupted_run_leaves_them_too(lesions, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_comparison(
            lesions, "none", "dummy", folds=3, jobs=1, out=tmp_path / "run", progress=Interrupting()
        )
    assert read_run(tmp_path / "run").info.interrupted
    assert tables_of(tmp_path / "run")["intervals"].count(b"macro_f1") == 2


def test_interrupted_before_it_began_nothing_is_touched(lesions, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=out)
    (out / "intervals.csv").write_text("theirs")

    def wait(folder, waiting):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "hold_folder", wait)
    with pytest.raises(KeyboardInterrupt):
        run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=out)
    assert (out / "intervals.csv").read_text() == "theirs"


def test_it_is_called_as_the_comparison_is():
    assert inspect.signature(run_comparison) == inspect.signature(comparison.run_comparison)
    assert run_comparison.__doc__ == comparison.run_comparison.__doc__
