"""Who holds a folder and who waits; killed processes hold nothing and leave no temporary folders."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from skinmnist.datasets.files import LOCK_FILE, claim
from skinmnist.errors import InputError
from skinmnist.experiment.execution.locks import RUN_FOLDER, TABLE_FILE, hold_folder, scratch_folder
from skinmnist.experiment.run_folder.file_names import RUN

HOLD = """
import sys, time
from pathlib import Path
from skinmnist.experiment.execution.locks import hold_folder
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
from skinmnist.experiment.run_folder.file_names import RUN
from skinmnist.experiment.execution.locks import RUN_FOLDER, TABLE_FILE, scratch_folder
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
