"""Which names are those of a run, and which folders are taken for run folders."""

import shutil

import pytest
from sklearn.tree import DecisionTreeClassifier

from skinmnist import demonstrate_leaks, run_comparison
from skinmnist.datasets.files import LOCK_FILE, check_ours, remove_owned
from skinmnist.errors import InputError
from skinmnist.experiment.execution import runner
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.run_folder.file_names import RUN, is_unmarked_run
from skinmnist.reporting.page import write_report


@pytest.fixture
def folder(lesions, tmp_path, monkeypatch):
    """A run folder with everything that is left in one, but for a preset's."""

    def run(cells, table, task, *more, **others):
        for cell in cells:
            yield fit_cell(cell, table, task)

    monkeypatch.setattr(runner, "run_cells", run)
    monkeypatch.setattr("skinmnist.reporting.page.render_page", lambda *_: "a page")
    run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=tmp_path / "run")
    tree = {"tree": DecisionTreeClassifier(max_depth=1)}
    demonstrate_leaks(lesions, tree, folds=2, jobs=1, out=tmp_path / "run")
    write_report(tmp_path / "run")
    return tmp_path / "run"


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def take_marker(folder):
    """Make a run folder one of an earlier version."""
    (folder / RUN.marker).write_bytes(b"")


def test_every_file_of_a_run_is_known_by_name(folder):
    before = files(folder)
    assert {"report.html", "leaks.csv", "scores.csv"} < before
    remove_owned(folder, RUN)
    assert {name.rpartition("/")[2] for name in files(folder)} == {LOCK_FILE}


def test_runs_of_earlier_versions_are_run_folders(folder, lesions):
    take_marker(folder)
    before = files(folder)
    record = run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=folder)
    assert (len(record.results), files(folder)) == (2, before)
    take_marker(folder)
    run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=folder, fresh=True)
    for path in folder.iterdir():
        if path.name != "cells":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    take_marker(folder)
    check_ours(folder, RUN, is_unmarked_run)
    (folder / "cells" / "letter").touch()
    with pytest.raises(InputError, match="holds cells, which would be replaced"):
        check_ours(folder, RUN, is_unmarked_run)


def test_half_files_of_a_killed_run_are_removed_and_others_stay(folder, lesions):
    whole = files(folder)
    for name in (".scores.csv.skinmnist-0123456789ab", "cells/.none-svm-r0.skinmnist-0123456789ab"):
        (folder / name).touch()
    mine = {".scores.csv.original", ".my.csv.skinmnist-0123456789ab", "cells/.letter.original"}
    for name in mine:
        (folder / name).touch()
    run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=folder)
    assert files(folder) == whole | mine
