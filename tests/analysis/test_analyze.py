"""The whole analysis of a run, from a record and from a run folder."""

import csv
import importlib.util
import re
import sys
from dataclasses import replace
from itertools import product
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from drawn_sets import drawn_set, write_set
from PIL import Image

from skinmnist import load_table, run_comparison
from skinmnist.analysis.analyze import (
    FOLDER,
    TABLES,
    analyze,
    analyze_run,
    medmnist_scores,
    write_analysis,
    write_results,
)
from skinmnist.analysis.bootstrap import bootstrap_scores, intervals
from skinmnist.analysis.operating_points import PRIOR_CORRECTION, prior_corrected_scores
from skinmnist.datasets.medmnist import CLASS_NAMES
from skinmnist.experiment.run_folder.record import LESIONS_FILE
from skinmnist.predict import main as predict
from skinmnist.train import main as train

NAMES = ("nv", "bkl", "mel")


def test_the_whole_analysis(make_record):
    record = make_record(repeats=2)
    found = analyze(record, draws=40)
    assert len(repr(found)) < 300
    asked = found.comparisons.groupby(["question", "against"], sort=False).size()
    assert asked.to_dict() == {
        ("sampler", "none"): 5 + 3,
        ("control", "none"): 2 * 5,
        ("control", PRIOR_CORRECTION): 5,
        ("model", "cnn"): 5 + 3,
    }
    pairs = set(zip(found.intervals["sampler"], found.intervals["model"], strict=True))
    assert pairs == {
        ("none", "svm"),
        ("SMOTE", "svm"),
        ("none", "cnn"),
        (PRIOR_CORRECTION, "svm"),
        (PRIOR_CORRECTION, "cnn"),
    }
    assert set(found.difference_intervals["sampler"]) == {"SMOTE", PRIOR_CORRECTION}
    pd.testing.assert_frame_equal(found.derived_scores, prior_corrected_scores(record))
    values = found.intervals.set_index(["sampler", "model", "metric"])["value"]
    against_none = found.comparisons.query("rule == 'as_trained' and against == 'none'")
    for row in against_none.itertuples():
        assert row.value == pytest.approx(values[row.sampler, row.model, row.metric])
        assert row.against_value == pytest.approx(values["none", row.model, row.metric])


@pytest.mark.parametrize("sampler", ["none", "SMOTE"])
@pytest.mark.parametrize(
    ("held_out", "missing", "folds"),
    [
        ((), [(0, 1), (1, 0), (1, 2)], {3, 6}),
        (("abc", "abc"), [(1, 0), (1, 1), (1, 2)], {3}),
        (("abc", "abc"), [(0, 1), (1, 0), (1, 2)], {3}),
        (("abc", "abc"), [(0, 1), (1, 1), (1, 2)], {2, 3}),
        (("abc", "dbe"), [(0, 0), (1, 1)], {4, 5}),
    ],
)
def test_both_intervals_of_a_difference_use_the_parts_that_both_sides_have(
    make_record, sampler, held_out, missing, folds
):
    """Cells may fail, samplers may differ in their repeats, and repeats may hold out the same parts."""
    record = make_record(
        repeats=2,
        keep=lambda cell: cell[:2] != (sampler, "svm") or (cell.repeat, cell.fold) not in missing,
    )
    record = replace(record, info=replace(record.info, held_out=tuple(map(tuple, held_out))))
    found = analyze(record, draws=4)
    tested = found.comparisons.query("rule == 'as_trained' and against == 'none'")
    resampled = found.difference_intervals.merge(tested, on=["sampler", "model", "metric"], how="inner")
    assert set(resampled["folds"]) == folds
    np.testing.assert_allclose(resampled["value_x"], resampled["difference"], rtol=0, atol=1e-12)


def test_lesions_in_the_folder_are_resampled(make_record, invented, tmp_path):
    record = make_record()
    by_row = analyze(record, draws=40).intervals
    _, codes = invented(digits=15)
    np.savez(tmp_path / LESIONS_FILE, codes=codes)
    by_lesion = analyze(replace(record), draws=40).intervals  # A record reads its folder once.
    by_lesion = by_lesion[~by_lesion["metric"].str.startswith("lesion_")].reset_index(drop=True)
    expected = intervals(bootstrap_scores(record.predictions, NAMES, codes, 40, random_state=5))
    pd.testing.assert_frame_equal(by_lesion.iloc[: len(expected)], expected)
    pd.testing.assert_series_equal(by_row["value"], by_lesion["value"])
    assert (by_row["low"] != by_lesion["low"]).any()


def test_analysis_of_a_run_without_a_finished_cell(make_record):
    found = analyze(make_record(keep=lambda cell: False))
    assert all(getattr(found, name).empty for name in (*TABLES, "leaderboard", "majority_scores"))
    assert found.best_pairs.empty


def test_tables_are_written_and_read_back(make_record, tmp_path):
    record = make_record()
    found = analyze(record, draws=10)
    write_analysis(tmp_path, found)
    assert {path.stem for path in tmp_path.iterdir()} == set(TABLES)
    for name in TABLES:
        read = pd.read_csv(tmp_path / f"{name}.csv")
        pd.testing.assert_frame_equal(read, getattr(found, name), check_exact=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_analysis(tmp_path, analyze(record, draws=10))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


COLOUR = ("pathmnist", "dermamnist", "retinamnist", "bloodmnist")


def evaluate(path, labels):
    """Score a file of results as MedMNIST's Evaluator does, from its published definition, in plain loops."""
    with path.open() as stream:
        rows = {int(index): list(map(float, scores)) for index, *scores in csv.reader(stream)}
    scores = [rows[index] for index in range(len(labels))]

    def auc(positive, values):
        ones = [value for value, is_one in zip(values, positive, strict=True) if is_one]
        zeros = [value for value, is_one in zip(values, positive, strict=True) if not is_one]
        won = sum((one > zero) + 0.5 * (one == zero) for one in ones for zero in zeros)
        return won / (len(ones) * len(zeros))

    k = len(scores[0])
    if k == 2:
        last = [row[-1] for row in scores]
        correct = [(value > 0.5) == label for value, label in zip(last, labels, strict=True)]
        return auc(labels == 1, last), np.mean(correct)
    area = np.mean([auc(labels == code, [row[code] for row in scores]) for code in range(k)])
    return area, np.mean([row.index(max(row)) == label for row, label in zip(scores, labels, strict=True)])


def walk(name, side, folder, capsys, model="random_forest_pixels"):
    """Compare, train and predict on a drawn set, by the commands' own functions; check the results."""
    arrays = drawn_set(len(CLASS_NAMES[name]), side, 3 if name in COLOUR else 1)
    stem = name if side == 28 else f"{name}_{side}"
    file = write_set(folder / f"{stem}.npz", arrays)
    table = load_table(file)
    run = run_comparison(table, ["none"], [model], jobs=1, out=folder / "run")
    assert not run.failures
    (result,) = run.results
    np.testing.assert_array_equal(table.parts[result.rows], "test")
    analyze_run(run)
    (path,) = (folder / "run" / FOLDER).iterdir()
    labels = arrays["test_labels"].ravel()
    found = medmnist_scores(result.labels, result.probabilities)
    assert found == pytest.approx(evaluate(path, labels), abs=1e-6)
    named = re.fullmatch(r"(\w+)_test_\[AUC\](\d\.\d{3})_\[ACC\](\d\.\d{3})@(none-[\w-]+-0)\.csv", path.name)
    assert named[1] == stem
    assert (float(named[2]), float(named[3])) == pytest.approx(found, abs=5.1e-4)

    assert train([str(file), "--model", model, "--out", str(folder / "m.skm")]) == 0
    assert "trained on the train part only, 42 of 84 pictures" in capsys.readouterr().err
    picture = folder / "a.png"
    Image.fromarray(arrays["test_images"][0]).save(picture)
    assert predict([str(folder / "m.skm"), str(picture), str(file), "--json"]) == 0
    answers = capsys.readouterr().out.splitlines()
    assert len(answers) == 29
    assert answers[1].startswith(f'{{"image": "{folder / file.name}[test 0]"')
    assert answers[0].partition(", ")[2] == answers[1].partition(", ")[2]


@pytest.mark.parametrize(("name", "side"), [("dermamnist", 28), ("pneumoniamnist", 64)])
def test_from_the_file_to_the_results(name, side, tmp_path, capsys):
    walk(name, side, tmp_path, capsys)


@pytest.mark.parametrize(("name", "side", "channels"), [("bloodmnist", 64, 3), ("breastmnist", 28, 1)])
def test_medmnists_own_evaluator_agrees(name, side, channels, tmp_path, monkeypatch):
    """Needs `pip install --no-deps medmnist`, of which the evaluator alone is imported: it needs no torch."""
    package = importlib.util.find_spec("medmnist")
    if package is None:
        pytest.skip("MedMNIST's evaluator is not installed: pip install --no-deps medmnist")
    stand_in = ModuleType("medmnist")
    stand_in.__path__ = list(package.submodule_search_locations)
    for part in ("medmnist", "medmnist.info", "medmnist.evaluator"):
        monkeypatch.delitem(sys.modules, part, raising=False)
    monkeypatch.setitem(sys.modules, "medmnist", stand_in)
    monkeypatch.setenv("HOME", str(tmp_path))
    from medmnist.evaluator import Evaluator

    stem = name if side == 28 else f"{name}_{side}"
    home = tmp_path / ".medmnist"
    home.mkdir(exist_ok=True)
    table = load_table(write_set(home / f"{stem}.npz", drawn_set(len(CLASS_NAMES[name]), side, channels)))
    run = run_comparison(table, ["none"], ["random_forest_pixels"], jobs=1, out=tmp_path / "run")
    (path,) = write_results(run, tmp_path)
    found = medmnist_scores(run.results[0].labels, run.results[0].probabilities)
    assert tuple(Evaluator.parse_and_evaluate(str(path))) == pytest.approx(found, abs=1e-6)
    assert [one.name for one in path.parent.iterdir()] == [path.name]  # It gives the same name.


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), [*product(CLASS_NAMES, (28, 64, 128))])
def test_every_set_at_every_size(name, side, tmp_path, capsys):
    walk(name, side, tmp_path, capsys)


def test_ties_count_half_and_absent_classes_have_no_auc():
    even = np.full((4, 2), 0.5)
    assert medmnist_scores(np.array([0, 1, 0, 1]), even) == (0.5, 0.5)
    assert np.isnan(medmnist_scores(np.array([0, 1, 1, 0]), np.full((4, 3), 1 / 3))[0])


def test_results_take_the_place_of_earlier_ones_and_the_users_files_stay(tmp_path):
    table = load_table(write_set(tmp_path / "breastmnist.npz", drawn_set(2, 8, 1)))
    run = run_comparison(table, ["none"], ["dummy"], jobs=1, out=tmp_path / "run")
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "breastmnist_test_[AUC]0.987_[ACC]0.654@none-dummy-0.csv").write_text("0,0.5,0.5\n")
    (folder / "notes.csv").write_text("0,mine\n")
    (path,) = write_results(run, tmp_path)
    assert {one.name for one in folder.iterdir()} == {path.name, "notes.csv"}


def test_other_tables_and_splits_leave_no_results(tmp_path):
    table = load_table(write_set(tmp_path / "breastmnist.npz", drawn_set(2, 8, 1)))
    run = run_comparison(table, ["none"], ["dummy"], jobs=1, out=tmp_path / "run", folds=2, split="image")
    assert write_results(run, tmp_path) == []
    assert not (tmp_path / FOLDER).exists()
