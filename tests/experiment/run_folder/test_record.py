"""The files of a run folder: CSVs that do no harm in a spreadsheet, lesions, the gallery of mistakes."""

import csv
import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinmnist import run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment.metrics import best_pair
from skinmnist.experiment.run_folder.record import (
    LESIONS_FILE,
    MISTAKES_FILE,
    MOST_MISTAKES,
    confident_mistakes,
    csv_bytes,
    read_columns,
    read_lesions,
    read_mistakes,
    read_run,
    write_rows,
)
from skinmnist.text import is_name

ODD = st.text(st.sampled_from("a1 '\"=+-@\t\r\n,\uff1d\ufeff\x1b\\\0") | st.characters(), max_size=12)
FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r]")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(ODD, ODD, st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_tables_are_inert_and_names_come_back(tmp_path_factory, rows):
    frame = pd.DataFrame(
        [(name if is_name(name) else "ab", word, value) for name, word, value in rows],
        columns=["name", "=word", "value"],
    )
    content = csv_bytes(frame)
    for cells in csv.reader(io.StringIO(content.decode(), newline="")):
        assert not [cell for cell in cells if FORMULA.match(cell) and not re.fullmatch(r"-[\d.eE+-]+", cell)]
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    path.write_bytes(content)
    back = read_columns(path, {"name": str, "value": float})
    assert back["name"].tolist() == frame["name"].tolist()
    assert back["value"].tolist() == frame["value"].tolist()


def test_ordinary_tables_are_written_as_ever():
    frame = pd.DataFrame(
        {"sampler": ["none", "SMOTE"], "value": [-1.5, np.nan], "n": [-1, 2], "ok": [True, False]}
    )
    assert csv_bytes(frame) == frame.to_csv(index=False, lineterminator="\n").encode()


@pytest.fixture(scope="module")
def run(lesions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "one"
    return run_comparison(
        lesions, "none", ["logistic_regression", "dummy"], folds=3, repeats=2, jobs=1, out=folder
    )


def test_the_mistakes_are_the_most_confident_ones_of_different_lesions(run, lesions):
    frame = pd.read_csv(run.folder / "predictions.csv.gz", dtype={"sampler": str}, keep_default_na=False)
    mine = frame[(frame["model"] == "logistic_regression") & (frame["label"] != frame["predicted"])]
    best = {}
    for row in mine.to_dict("records"):
        names = [key for key in row if key.startswith("p_")]
        lesion = lesions.lesion_ids[row["row"]]
        best[lesion] = max(best.get(lesion, 0), row[names[row["predicted"]]])
    expected = sorted(best.values(), reverse=True)[:MOST_MISTAKES]
    found = confident_mistakes(run)
    assert found["confidence"].tolist() == pytest.approx(expected)
    assert (found["label"] != found["predicted"]).all()
    assert len(set(lesions.lesion_ids[found["row"]])) == len(found) > 3


def test_their_pixels_are_those_of_the_table(run, lesions):
    found, pictures = read_mistakes(read_run(run.folder))
    assert len(found) == len(confident_mistakes(run))
    np.testing.assert_array_equal(pictures.reshape(len(found), -1), lesions.pixels[found["row"]])
    np.testing.assert_array_equal(lesions.labels[found["row"]], found["label"])


def test_the_best_pair_is_the_first_of_equals():
    scores = pd.DataFrame(
        {
            "sampler": ["none", "none", "SMOTE", "SMOTE"],
            "model": ["a", "a", "b", "b"],
            "metric": "macro_f1",
            "value": [0.25, 0.75, 0.75, 0.25],
        }
    )
    assert best_pair(scores) == ("none", "a")
    assert best_pair(scores.assign(value=[0, 0, 0, 1])) == ("SMOTE", "b")
    assert best_pair(scores.iloc[:0]) is None


def test_an_older_folder_has_no_gallery(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder)
    (folder / MISTAKES_FILE).unlink()
    (folder / LESIONS_FILE).unlink()
    found, pictures = read_mistakes(read_run(folder))
    assert found.empty
    assert pictures.shape == (0, 8, 8, 3)
    assert not confident_mistakes(read_run(folder)).empty
    (folder / MISTAKES_FILE).write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"mistakes.npz is damaged"):
        read_mistakes(read_run(folder))


def test_lesions_are_read_as_they_were_written(lesions, tmp_path):
    assert read_lesions(tmp_path, len(lesions)) is None
    write_rows(tmp_path, lesions)
    codes = read_lesions(tmp_path, len(lesions))
    assert (codes.dtype, codes.shape) == (np.int32, (len(lesions),))
    same = codes[:, None] == codes
    np.testing.assert_array_equal(same, lesions.lesion_ids[:, None] == lesions.lesion_ids)
    content = (tmp_path / LESIONS_FILE).read_bytes()
    write_rows(tmp_path, lesions)
    assert (tmp_path / LESIONS_FILE).read_bytes() == content


def test_a_table_that_knows_no_lesions_leaves_none_behind(lesions, tmp_path):
    write_rows(tmp_path, lesions)
    write_rows(tmp_path, replace(lesions, lesion_ids=None, clinical=None))
    assert read_lesions(tmp_path, len(lesions)) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_damaged_lesions(tmp_path, content):
    (tmp_path / LESIONS_FILE).write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        read_lesions(tmp_path, 360)
