import os
import subprocess
import sys

import pytest

from skinmnist.console.common import guarded
from skinmnist.errors import InputError


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("received x; expected y"), 2, "skinmnist: received x; expected y\n"),
        (OSError(28, "No space left on device", "scores.csv"), 2, "No space left on device (scores.csv)"),
        (KeyboardInterrupt(), 130, "skinmnist: interrupted\n"),
    ],
)
def test_what_ends_a_command_is_one_sentence_and_a_code(error, code, said, capsys):
    def work():
        raise error

    assert guarded(work) == code
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


def test_work_that_is_done_gives_its_own_code():
    assert guarded(lambda: 1) == 1


def test_signs_that_a_terminal_does_not_know_are_spelt_out():
    code = """
import sys
from skinmnist.console.common import guarded
from skinmnist.errors import InputError
def talk():
    print("\\u76ae\\u80a4.png")
    raise InputError("received \\u76ae")
raise SystemExit(guarded(talk))
"""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert found.returncode == 2
    assert found.stdout == "\\u76ae\\u80a4.png\n"
    assert found.stderr == "skinmnist: received \\u76ae\n"


def test_a_reader_who_leaves_early_gets_no_complaint():
    code = """
from skinmnist.console.common import guarded
def talk():
    for _ in range(100_000):
        print("a line")
    return 0
raise SystemExit(guarded(talk))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
