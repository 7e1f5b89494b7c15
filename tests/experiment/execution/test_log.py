import json
import os
from pathlib import Path

import numpy as np
import pytest

from skinmnist.experiment.cells import Cell, CellFailure, CellResult, Timing
from skinmnist.experiment.execution.log import LOGGER, log_event, log_outcome, log_to

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
    monkeypatch.setattr("skinmnist.experiment.execution.log.open_plain", os.open)
    with log_to(Path("/dev/full")):
        log_event("into the void")
    assert capsys.readouterr().err == ""
