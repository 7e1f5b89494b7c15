"""Prior correction, the lesions of a run folder, and the whole analysis."""

import numpy as np
import pandas as pd
import pytest
from described import invent_info

from skinmnist.analysis.analyze import TABLES, analyze, write_analysis
from skinmnist.analysis.bootstrap import bootstrap_scores, intervals
from skinmnist.analysis.prior_correction import (
    PRIOR_CORRECTION,
    correct_priors,
    prior_corrected,
    prior_corrected_predictions,
    prior_corrected_scores,
)
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellResult, Timing
from skinmnist.experiment.metrics import score_predictions
from skinmnist.experiment.run_folder.record import RunRecord, predictions_table, timings_table
from skinmnist.experiment.run_folder.rows import LESIONS_FILE, read_lesions, write_lesions

NAMES = ("nv", "bkl", "mel")


@pytest.fixture
def make_record(invented, tmp_path):
    """Put invented predictions into a record, as if they had been read from a folder."""

    def make(keep=lambda cell: True, **options):
        predictions, _ = invented(digits=15, **options)
        results = []
        for key, rows in predictions.groupby(list(Cell._fields), sort=False):
            cell = Cell(*key)
            if not keep(cell):
                continue
            others = predictions[(predictions["repeat"] == cell.repeat) & (predictions["fold"] != cell.fold)]
            counts = np.bincount(others.drop_duplicates("row")["label"], minlength=3).astype(float)
            probabilities = rows[[f"p_{name}" for name in NAMES]].to_numpy()
            results.append(
                CellResult(
                    cell=cell,
                    rows=rows["row"].to_numpy(),
                    labels=rows["label"].to_numpy(),
                    predicted=rows["predicted"].to_numpy(),
                    probabilities=probabilities / probabilities.sum(axis=1, keepdims=True),
                    timing=Timing(1, 1, 0.0, 0.0, 0.0, 0.0),
                    counts_before=counts,
                    counts_after=counts,
                )
            )
        table = predictions_table(results, NAMES)
        return RunRecord(
            folder=tmp_path,
            info=invent_info(
                table={"class_names": list(NAMES), "rows": int(predictions["row"].max()) + 1},
                protocol={"folds": 3},
                seed=5,
            ),
            results=tuple(results),
            failures=(),
            predictions=table,
            scores=score_predictions(table, NAMES),
            timings=timings_table(results),
            pictures=np.zeros((0, 1, 1, 3), np.uint8),
            picture_labels=np.zeros(0, np.int64),
        )

    return make


def test_probabilities_without_the_prior_by_hand():
    found = prior_corrected(np.array([[0.8, 0.15, 0.05], [0.9, 0.1, 0.0]]), np.array([80.0, 10.0, 10.0]))
    np.testing.assert_allclose(found, [[1 / 3, 1.5 / 3, 0.5 / 3], [9 / 17, 8 / 17, 0]])


def test_equal_frequencies_correct_nothing():
    p = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    np.testing.assert_allclose(prior_corrected(p, np.full(4, 30.0)), p)
    counts = np.array([5.0, 10.0, 20.0, 40.0])
    np.testing.assert_allclose(prior_corrected(p, counts), prior_corrected(p, 3 * counts))


def test_a_class_that_training_has_not_seen():
    found = prior_corrected(np.array([[0.5, 0.5, 0.0]]), np.array([10.0, 5.0, 0.0]))
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 0]])


@pytest.mark.parametrize("repeats", [1, 2])
def test_the_control_row_by_row(make_record, repeats):
    """Every row is divided by the class counts of the other folds of its repeat, and by nothing else."""
    record = make_record(repeats=repeats)
    found = prior_corrected_predictions(record)
    assert list(found.columns) == list(record.predictions.columns)
    assert set(found["sampler"]) == {PRIOR_CORRECTION}
    assert set(found["model"]) == {"svm", "cnn"}
    plain = record.predictions.query("sampler == 'none'").reset_index(drop=True)
    assert len(found) == len(plain)
    truth = plain.drop_duplicates(["repeat", "row"])
    for before, after in list(zip(plain.itertuples(), found.itertuples(), strict=True))[::17]:
        others = truth[(truth["repeat"] == before.repeat) & (truth["fold"] != before.fold)]["label"]
        adjusted = [getattr(before, f"p_{name}") / (others == code).mean() for code, name in enumerate(NAMES)]
        wanted = np.divide(adjusted, sum(adjusted))
        np.testing.assert_allclose([after.p_nv, after.p_bkl, after.p_mel], wanted, atol=1e-12)
        assert (after.row, after.label, after.predicted) == (before.row, before.label, wanted.argmax())


def test_ties_are_decided_by_what_was_more_probable_before():
    """A model that answers with the frequencies has nothing left after them but rounding."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        counts = rng.integers(1, 1000, 3).astype(float)
        cell = Cell("none", "dummy", 0, 0)
        rows = pd.DataFrame([counts / counts.sum()], columns=["p_nv", "p_bkl", "p_mel"])
        rows = rows.assign(**cell._asdict(), row=0, label=0, predicted=0)
        found = correct_priors(rows, NAMES, {cell: counts})
        np.testing.assert_allclose(found[["p_nv", "p_bkl", "p_mel"]].to_numpy(), 1 / 3)
        assert found["predicted"].tolist() == [counts.argmax()]


def test_scores_of_the_control(make_record):
    record = make_record()
    scores = prior_corrected_scores(record)
    assert list(scores.columns) == list(record.scores.columns)
    assert set(scores["sampler"]) == {PRIOR_CORRECTION}
    assert set(zip(scores["model"], scores["fold"], strict=True)) == {
        (model, fold) for model in ("svm", "cnn") for fold in range(3)
    }


def test_no_control_without_none(make_record):
    assert prior_corrected_scores(make_record(keep=lambda cell: cell.sampler == "SMOTE")).empty


def test_lesions_are_kept(lesions, tmp_path):
    assert read_lesions(tmp_path, len(lesions)) is None
    write_lesions(tmp_path, lesions)
    codes = read_lesions(tmp_path, len(lesions))
    assert (codes.dtype, codes.shape) == (np.int32, (len(lesions),))
    same = codes[:, None] == codes
    np.testing.assert_array_equal(same, lesions.lesion_ids[:, None] == lesions.lesion_ids)
    content = (tmp_path / LESIONS_FILE).read_bytes()
    write_lesions(tmp_path, lesions)
    assert (tmp_path / LESIONS_FILE).read_bytes() == content


def test_a_table_that_knows_no_lesions_leaves_none_behind(lesions, tmp_path):
    from dataclasses import replace

    write_lesions(tmp_path, lesions)
    write_lesions(tmp_path, replace(lesions, lesion_ids=None))
    assert read_lesions(tmp_path, len(lesions)) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_damaged_lesions(tmp_path, content):
    (tmp_path / LESIONS_FILE).write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        read_lesions(tmp_path, 360)


def test_the_whole_analysis(make_record):
    record = make_record(repeats=2)
    found = analyze(record, draws=40)
    asked = found.comparisons.groupby(["question", "against"], sort=False).size()
    assert asked.to_dict() == {
        ("sampler", "none"): 3 * 5,
        ("sampler", PRIOR_CORRECTION): 5,
        ("model", "cnn"): 5,
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
    against_none = found.comparisons.query("question == 'sampler' and against == 'none'")
    for row in against_none.itertuples():
        assert row.value == pytest.approx(values[row.sampler, row.model, row.metric])
        assert row.against_value == pytest.approx(values["none", row.model, row.metric])


def test_lesions_in_the_folder_are_resampled(make_record, invented, tmp_path):
    record = make_record()
    by_row = analyze(record, draws=40).intervals
    _, codes = invented(digits=15)
    np.savez(tmp_path / LESIONS_FILE, codes=codes)
    by_lesion = analyze(record, draws=40).intervals
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
