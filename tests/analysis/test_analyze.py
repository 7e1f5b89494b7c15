"""The whole analysis of a run, from a record and from a run folder."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skinmnist.analysis.analyze import TABLES, analyze, write_analysis
from skinmnist.analysis.bootstrap import bootstrap_scores, intervals
from skinmnist.analysis.operating_points import PRIOR_CORRECTION, prior_corrected_scores
from skinmnist.experiment.run_folder.record import LESIONS_FILE

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


def test_lesions_in_the_folder_are_resampled(make_record, invented, tmp_path):
    record = make_record()
    by_row = analyze(record, draws=40).intervals
    _, codes = invented(digits=15)
    np.savez(tmp_path / LESIONS_FILE, codes=codes)
    by_lesion = analyze(replace(record), draws=40).intervals  # A record reads its folder once.
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
