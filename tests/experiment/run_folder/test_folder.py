"""The folder of a run: which names are its own, its lock, and its log."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from skinmnist import demonstrate_leaks, run_comparison
from skinmnist.datasets.files import LOCK_FILE, check_ours, claim, remove_owned
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure, CellResult, Timing
from skinmnist.experiment.execution import local
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.run_folder.folder import (
    LOGGER,
    RUN,
    RUN_FOLDER,
    TABLE_FILE,
    hold_folder,
    is_unmarked_run,
    log_event,
    log_outcome,
    log_to,
    scratch_folder,
)
from skinmnist.reporting.page import write_report


@pytest.fixture
def folder(lesions, tmp_path, monkeypatch):
    """A run folder with everything that is left in one, but for a preset's."""

    def run(cells, table, task, *more, **others):
        for cell in cells:
            yield fit_cell(cell, table, task)

    monkeypatch.setattr(local, "run_cells", run)
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


HOLD = """
import sys, time
from pathlib import Path
from skinmnist.experiment.run_folder.folder import hold_folder
with hold_folder(Path(sys.argv[1]), lambda: None):
    print("held", flush=True)
    time.sleep(60)
"""


def fail():
    raise AssertionError("somebody else holds the folder")


def test_it_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with hold_folder(tmp_path / "new" / "folder", fail):
            assert (tmp_path / "new" / "folder").is_dir()


def test_the_second_waits_for_the_first(tmp_path):
    order, waits = [], threading.Event()

    def second():
        with hold_folder(tmp_path, waits.set):
            order.append("second")

    with hold_folder(tmp_path, fail):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(120)
        order.append("first")
    thread.join(120)
    assert order == ["first", "second"]


def test_a_killed_holder_leaves_nothing(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with hold_folder(tmp_path, fail):
        pass


def test_no_child_goes_on_holding(tmp_path):
    with hold_folder(tmp_path, fail):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with hold_folder(tmp_path, fail):
        pass
    child.kill()
    child.wait()


def test_a_disk_without_locks_is_refused(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match="No locks available"), hold_folder(tmp_path, fail):
        pass


#: A run that is killed while it has a temporary folder.
KILLED = """
import os, signal
from skinmnist.datasets.files import claim
from skinmnist.experiment.run_folder.folder import RUN
from skinmnist.experiment.run_folder.folder import RUN_FOLDER, TABLE_FILE, scratch_folder
with scratch_folder() as folder:
    claim(folder / RUN_FOLDER, RUN)
    for name in (TABLE_FILE, "pid-3", "run/run.json", "run/.run.json.skinmnist-0123456789ab"):
        (folder / name).write_bytes(b"x")
    dask = folder / "dask-scratch-space"
    (dask / "worker-abcdefgh").mkdir(parents=True)
    (dask / "worker-abcdefgh" / "tmp01234567.py").write_text("import signal; signal.signal(2, 1)")
    (dask / "scheduler-abcdefgh").mkdir()
    for name in ("global", "purge"):
        (dask / f"{name}.lock").touch()
    for name in ("worker", "scheduler"):
        (dask / f"{name}-abcdefgh.dirlock").touch()
    cell = "none-svm-r0-f0-0123456789abcdef.cell"
    (folder / "run" / "cells" / cell).write_bytes(b"0" * 64 + b"PK")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """What a killed run has left, a while ago."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    subprocess.run([sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    (folder,) = tmp_path.iterdir()
    os.utime(folder, (0, 0))
    return folder


def test_what_a_killed_run_left_is_cleared_away(killed, tmp_path):
    assert (killed / TABLE_FILE).exists()
    with scratch_folder() as first:
        assert not killed.exists()
        os.utime(first, (0, 0))
        with scratch_folder() as second:
            assert set(tmp_path.iterdir()) == {first, second}, "a folder in use was removed"
    assert list(tmp_path.iterdir()) == []


def test_a_young_folder_is_left_alone(killed, tmp_path):
    os.utime(killed)
    with scratch_folder():
        assert (killed / RUN_FOLDER / "run.json").exists()


def test_a_file_of_the_users_in_it_stays(killed, tmp_path):
    (killed / RUN_FOLDER / "cells" / "letter").write_text("dear diary")
    os.utime(killed, (0, 0))
    with scratch_folder():
        pass
    assert [path for path in killed.rglob("*") if path.is_file() and path.name != LOCK_FILE] == [
        killed / RUN_FOLDER / "cells" / "letter"
    ]


def test_a_mark_that_was_written_twice_is_one(tmp_path):
    claim(tmp_path, RUN)
    (tmp_path / RUN.marker).write_bytes(RUN.mark * 2)
    (tmp_path / "scores.csv").touch()
    claim(tmp_path, RUN)
    assert (tmp_path / RUN.marker).read_bytes() == RUN.mark * 2


CELL = Cell("none", "svm", 0, 1)


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_is_one_line_and_lines_are_added(tmp_path):
    path = tmp_path / "run.log"
    for number in range(2):
        with log_to(path):
            log_event("something", number=number, text="a\n\u201cb\u201d")
    first, second = read(path)
    assert (first["event"], first["number"], second["number"]) == ("something", 0, 1)
    assert first["text"] == "a\n\u201cb\u201d"
    assert {"time", "process"} <= first.keys()


def test_outcomes_of_cells(tmp_path):
    empty, none = np.empty(0), np.empty(0, dtype=np.int64)
    timing = Timing(10, 20, 0.1, 0.23456, 0.3, 100.0)
    done = CellResult(CELL, none, none, empty, timing, empty, empty, empty, empty, notes=("so",))
    with log_to(tmp_path / "run.log"):
        log_outcome(done)
        log_outcome(CellFailure(CELL, "no luck"))
    first, second = read(tmp_path / "run.log")
    assert first | {"fit_seconds": 0.235, "notes": ["so"], "fold": 1, "event": "cell done"} == first
    assert second | {"event": "cell failed", "reason": "no luck", "model": "svm"} == second


def test_what_breaks_a_run_is_logged(tmp_path):
    with pytest.raises(OSError, match="full"), log_to(tmp_path / "run.log"):
        raise OSError(28, "the disk\nis full")
    (line,) = read(tmp_path / "run.log")
    assert (line["event"], line["error"]) == ("run broken", "OSError: [Errno 28] the disk is full")


def test_nothing_is_left_of_a_log(tmp_path):
    before = (LOGGER.level, list(LOGGER.handlers))
    with log_to(tmp_path / "run.log"):
        pass
    log_event("nobody listens")
    assert (LOGGER.level, list(LOGGER.handlers)) == before
    assert read(tmp_path / "run.log") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_fails_no_run(capsys, monkeypatch):
    # A device is opened for once.
    monkeypatch.setattr("skinmnist.experiment.run_folder.folder.open_plain", os.open)
    with log_to(Path("/dev/full")):
        log_event("into the void")
    assert capsys.readouterr().err == ""
