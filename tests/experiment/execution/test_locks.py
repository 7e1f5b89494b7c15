"""Who holds a folder, who waits, and that the dead hold nothing."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from skinmnist.errors import InputError
from skinmnist.experiment.execution.locks import hold_folder

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
