"""Run folders that were altered: refused in one sentence, or read; never anything else."""

import json
import shutil

import numpy as np
import pytest
from alterations import QUIETLY, altered_bytes, altered_json, check_sentence
from hypothesis import given, settings

from skinmnist import run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment.run_folder.record import RunRecord, read_run


@pytest.fixture(scope="module")
def run(lesions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    run_comparison(lesions, ["none", "SMOTE"], "dummy", folds=2, jobs=1, out=folder)
    return folder


def check(folder):
    """Return whether a folder was accepted."""
    try:
        record = read_run(folder)
    except InputError as error:
        return check_sentence(str(error))
    assert isinstance(record, RunRecord)
    finished = {result.cell for result in record.results}
    assert set(map(tuple, record.timings[["sampler", "model", "repeat", "fold"]].to_numpy())) == finished
    return True


def fuzz(run, draw, name, examples, **more):
    """Alter one file of a run again and again; return how many versions were accepted."""
    whole, verdicts = (run / name).read_bytes(), []

    @settings(max_examples=examples, **QUIETLY, **more)
    @given(draw(whole))
    def many(content):
        (run / name).write_bytes(content)
        verdicts.append(check(run))

    try:
        many()
    finally:
        (run / name).write_bytes(whole)
    return verdicts


CASES = [(altered_json, "run.json"), (altered_bytes, "run.json"), (altered_bytes, "pictures.npz")]


@pytest.mark.parametrize(("draw", "name"), CASES)
def test_altered_run_folders(run, draw, name):
    fuzz(run, draw, name, 25, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "name"), CASES)
def test_thousands_of_altered_run_folders(run, draw, name):
    verdicts = fuzz(run, draw, name, 3000)
    print(f"\n{name}: {len(verdicts):,} altered, {sum(verdicts):,} accepted")


def test_a_run_without_its_cells(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "cells")
    record = read_run(copy)
    assert len(record.failures) == 4
    assert len(record.scores) == 0


def test_a_cell_of_another_table_does_not_mix(run, tmp_path):
    """A sound file under a wrong entry counts as damaged, and no cell counts twice."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    info = json.loads((copy / "run.json").read_text())
    info["cells"][0]["file"] = info["cells"][1]["file"]
    (copy / "run.json").write_text(json.dumps(info))
    record = read_run(copy)
    assert len({result.cell for result in record.results}) == len(record.results) == 3
    assert len(record.failures) == 1
    assert np.isfinite(record.scores["value"]).all()
