"""What lies in a run folder is recomputed or refused in a sentence: no traceback, no score that changed."""

import json
import os
import shutil

import numpy as np
import pytest
from alterations import check_sentence
from mutations import mutate_cell, mutate_json, pack_cell, unpack_cell
from sklearn.tree import DecisionTreeClassifier

from skinmnist import make_lesions, run_comparison
from skinmnist.analysis.analyze import analyze
from skinmnist.errors import InputError
from skinmnist.experiment.run_folder.record import (
    read_lesions,
    read_mistakes,
    read_patients,
    read_run,
    write_info,
)
from skinmnist.experiment.run_folder.store import read_cell
from skinmnist.reporting.page import machine
from skinmnist.reporting.sections.answer import failed_cells, pending_cells
from skinmnist.reporting.sections.data import classes, key_numbers
from skinmnist.reporting.side_by_side import warnings

SAMPLERS = ["none", "SMOTE"]
REFUSED = "missing, damaged, or from another run"


def compare(table, folder, depth=2, seed=0, samplers=SAMPLERS):
    models = {"tree": DecisionTreeClassifier(max_depth=depth, random_state=0)}
    return run_comparison(table, samplers, models, folds=2, seed=seed, jobs=1, out=folder)


@pytest.fixture(scope="module")
def run(lesions, tmp_path_factory):
    return compare(lesions, tmp_path_factory.mktemp("mutated") / "run")


@pytest.fixture(scope="module")
def small(lesions, tmp_path_factory):
    return compare(lesions, tmp_path_factory.mktemp("small") / "run", samplers=["none"])


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run.folder, tmp_path / "copy")


def scores_of(record):
    return {tuple(row[:-1]): row[-1] for row in record.scores.itertuples(index=False)}


def read_all(folder, run, deep):
    """Do with a folder what a report does, but for drawing; return whether it was read.

    Where not `deep`, what depends on scores and little else is left out.
    """
    try:
        record = read_run(folder)
        if deep:
            assert analyze(record, draws=2).concerns is not None
        classes(record), machine(record.info)
        key_numbers(record), failed_cells(record), pending_cells(record)
        warnings([record, run])
    except InputError as error:
        return check_sentence(str(error))
    whole = scores_of(run)
    assert all(whole[key] == value for key, value in scores_of(record).items())
    return True


def test_200_mutations_of_run_json(small, tmp_path):
    folder = shutil.copytree(small.folder, tmp_path / "copy")
    whole = (folder / "run.json").read_text()
    read = 0
    for seed in range(200):
        (folder / "run.json").write_text(mutate_json(whole, np.random.default_rng(seed)))
        read += read_all(folder, small, deep=seed % 5 == 0)
    assert 0 < read < 200


def test_a_mutated_run_json_is_resumed_or_refused(small, lesions, tmp_path):
    folder = shutil.copytree(small.folder, tmp_path / "copy")
    whole = (folder / "run.json").read_text()
    for seed in range(0, 200, 20):
        (folder / "run.json").write_text(mutate_json(whole, np.random.default_rng(seed)))
        try:
            again = compare(lesions, folder, samplers=["none"])
        except InputError as error:
            check_sentence(str(error))
        else:
            assert scores_of(again) == scores_of(small)


def test_what_a_newer_version_adds_is_passed_over(run, copy):
    info = json.loads((copy / "run.json").read_text())
    info["new"] = info["table"]["new"] = info["cells"][0]["new"] = {"a": [1]}
    (copy / "run.json").write_text(json.dumps(info))
    assert read_run(copy).info == run.info


def test_run_json_comes_back_to_the_byte(run, copy):
    whole = (copy / "run.json").read_bytes()
    write_info(copy, read_run(copy).info)
    assert (copy / "run.json").read_bytes() == whole


def test_1000_mutations_of_cells_with_right_checksums(run, copy, lesions):
    cells = {result.cell: copy / "cells" / file_of(run, result.cell).name for result in run.results}
    arrays = {cell: unpack_cell(path.read_bytes()) for cell, path in cells.items()}
    rng = np.random.default_rng(0)
    for _ in range(250):
        for cell, path in cells.items():
            path.write_bytes(pack_cell(mutate_cell(arrays[cell], rng)))
            assert read_cell(path, cell, run.info.provenance) is None
    record = read_run(copy)
    assert record.results == ()
    assert {failure.reason.count(REFUSED) for failure in record.failures} == {1}
    assert scores_of(compare(lesions, copy)) == scores_of(run)
    assert (copy / "scores.csv").read_bytes() == (run.folder / "scores.csv").read_bytes()


def test_a_cell_that_is_packed_anew_is_the_same_cell(run, copy):
    """So the mutated ones are refused for what was changed in them."""
    path = next((copy / "cells").glob("*.cell"))
    path.write_bytes(pack_cell(unpack_cell(path.read_bytes())))
    assert scores_of(read_run(copy)) == scores_of(run)


@pytest.fixture(scope="module")
def strangers(lesions, tmp_path_factory):
    """Runs of another seed, of another table, and of another model under the same name."""
    folder = tmp_path_factory.mktemp("strangers")
    return [
        compare(lesions, folder / "seed", seed=1),
        compare(make_lesions(360, size=8, random_state=2), folder / "table"),
        compare(lesions, folder / "model", depth=6),
    ]


def file_of(record, cell):
    [entry] = [entry for entry in record.info.cells if entry.cell == cell]
    return record.folder / "cells" / entry.file


def test_50_exchanged_cells(run, copy, lesions, strangers):
    rng = np.random.default_rng(0)
    cells = [result.cell for result in run.results]
    whole = scores_of(run)
    for number in range(50):
        stranger = strangers[number % 3]
        cell = cells[rng.integers(len(cells))]
        # Another cell of this very run stands in for one of another run now and then.
        source = stranger if rng.random() < 0.8 else run
        other = cell if source is stranger else cells[(cells.index(cell) + 1) % len(cells)]
        target = copy / "cells" / file_of(run, cell).name
        target.write_bytes(file_of(source, other).read_bytes())
        assert read_cell(target, cell, run.info.provenance) is None
        if number % 10 == 0:
            record = read_run(copy)
            assert [failure.cell for failure in record.failures] == [cell]
            assert scores_of(record) == {key: value for key, value in whole.items() if key[:4] != cell}
        target.write_bytes(file_of(run, cell).read_bytes())
    for stranger in strangers:
        for cell in cells:
            shutil.copy(file_of(stranger, cell), copy / "cells" / file_of(run, cell).name)
        assert scores_of(compare(lesions, copy)) == whole


NONE = np.zeros(0)
SIDE_FILES = {
    "pictures.npz": [{"pictures": NONE}, {"pictures": NONE, "labels": NONE}],
    "lesions.npz": [
        {},
        {"codes": NONE},
        {"codes": np.zeros(10, int)},
        {"codes": np.full(360, -1)},
        {"codes": np.full(360, 10**6)},
        {"codes": np.full(360, "a")},
        {"codes": np.full((360, 1), 1)},
    ],
    "patients.npz": [{"age": NONE}, {"age": np.full(360, 1j)}, {"sex": np.full(359, "male")}],
    "mistakes.npz": [
        {},
        {"rows": np.arange(3), "pictures": NONE},
        {"rows": np.full(3, "a"), "pictures": np.zeros((3, 8, 8, 3), np.uint8)},
        {"rows": np.arange(3), "pictures": np.zeros((3, 8, 8, 4), np.uint8)},
    ],
}


READERS = {
    "pictures.npz": lambda record: read_run(record.folder),
    "lesions.npz": lambda record: read_lesions(record.folder, record.info.table.rows),
    "patients.npz": lambda record: read_patients(record.folder, record.info.table.rows),
    "mistakes.npz": read_mistakes,
}


@pytest.mark.parametrize("name", SIDE_FILES)
def test_arrays_beside_the_cells(run, copy, name):
    record = read_run(copy)
    for arrays in [*SIDE_FILES[name], None, 2**30 + 1]:
        if arrays is None:
            (copy / name).write_bytes(b"PK\x03\x04 half an archive")
        elif isinstance(arrays, int):
            os.truncate(copy / name, arrays)
        else:
            np.savez(copy / name, **arrays)
        with pytest.raises(InputError, match="is damaged") as refused:
            READERS[name](record)
        check_sentence(str(refused.value), path=copy / name)
