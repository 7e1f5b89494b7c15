"""One set of answers at several class priors, and conformal sets by loops over pictures."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinmnist.analysis.operating_points import (
    ALL_CLASSES,
    CONFORMAL_COLUMNS,
    POINT_COLUMNS,
    PRIOR_CORRECTION,
    RULES,
    conformal_coverage,
    operating_points,
    prior_corrected_predictions,
    prior_corrected_scores,
    scores_by_share,
)
from skinmnist.decisions.probabilities import change_prior
from skinmnist.experiment.cells import Answers
from skinmnist.experiment.metrics import score
from skinmnist.experiment.run_folder.record import VALIDATION_FILE, csv_bytes, write_tables

NAMES = ("nv", "bkl", "mel")


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
        np.testing.assert_allclose([after.p_nv, after.p_bkl, after.p_mel], wanted, atol=1e-11)
        assert (after.row, after.label, after.predicted) == (before.row, before.label, wanted.argmax())


def test_nothing_is_corrected_without_none(make_record):
    assert prior_corrected_scores(make_record(keep=lambda cell: cell.sampler == "SMOTE")).empty


@pytest.fixture
def points(make_record):
    record = make_record(repeats=2)
    return record, operating_points(record.results, NAMES)


def rows_of(points, rule, **fixed):
    chosen = points[points["rule"] == rule].drop(columns="rule")
    for column, value in fixed.items():
        chosen = chosen[chosen[column] == value]
    return chosen.reset_index(drop=True)


def test_as_trained_are_the_scores_and_the_balanced_answers_of_none_are_the_control(points):
    record, found = points
    assert list(found.columns) == list(POINT_COLUMNS)
    assert set(found["rule"]) == set(RULES)
    pd.testing.assert_frame_equal(rows_of(found, "as_trained"), record.scores)
    balanced = rows_of(found, "balanced_prior", sampler="none").assign(sampler=PRIOR_CORRECTION)
    pd.testing.assert_frame_equal(balanced, prior_corrected_scores(record))


def test_at_their_own_mix_answers_are_natural(points):
    """The invented cells are trained at the natural mix."""
    _, found = points
    natural, trained = rows_of(found, "natural_prior"), rows_of(found, "as_trained")
    pd.testing.assert_frame_equal(natural, trained, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_ranking_at_the_natural_prior_does_not_depend_on_the_mix_of_training(record, seed):
    """The priors of stored answers changed on purpose: nothing at the natural prior changes."""
    weights = np.random.default_rng(seed).uniform(0.05, 20, 7)
    changed = []
    for result in record.results:
        moved, mix = result.probabilities * weights, result.training_mix * weights
        changed.append(
            replace(
                result,
                probabilities=moved / moved.sum(axis=1, keepdims=True),
                training_mix=mix / mix.sum(),
            )
        )
    names = record.info.table.class_names
    before, after = (operating_points(results, names) for results in (record.results, changed))
    for rule in RULES[1:]:
        pd.testing.assert_frame_equal(rows_of(before, rule), rows_of(after, rule), rtol=0, atol=1e-9)
    trained = [rows_of(points, "as_trained", metric="macro_auc")["value"] for points in (before, after)]
    assert (trained[0] - trained[1]).abs().mean() > 1e-3


def test_ties_of_a_forest_stay_ties_at_another_prior():
    """Many rows share a probability, and moving the prior there and back keeps that."""
    rng = np.random.default_rng(0)
    shares = rng.multinomial(20, [0.6, 0.3, 0.1], 500) / 20
    labels = np.array([rng.choice(3, p=row) for row in shares])
    weights = np.array([0.3, 1.1, 7.0])
    moved = shares * weights
    back = change_prior(moved / moved.sum(axis=1, keepdims=True), weights)
    found, wanted = (score(labels, p.argmax(axis=1), p, NAMES) for p in (back, shares))
    assert found["macro_auc"] == pytest.approx(wanted["macro_auc"], abs=1e-12)
    assert found["macro_average_precision"] == pytest.approx(wanted["macro_average_precision"], abs=1e-12)


def test_a_fold_alone_has_no_tuned_rules(make_record):
    record = make_record(keep=lambda cell: cell.fold == 0)
    assert set(operating_points(record.results, NAMES)["rule"]) == set(RULES[:3])
    assert operating_points((), NAMES).empty


def test_with_a_validation_part_a_cell_alone_has_tuned_rules(record):
    cell = record.results[0]
    cell = replace(cell, validation=Answers(cell.labels, cell.probabilities))
    assert set(operating_points([cell], record.info.table.class_names)["rule"]) == set(RULES)


def test_tuned_rules_have_the_same_scores_by_lesion_whatever_their_power(record, monkeypatch):
    """A power of 0 is the natural prior, which has more of them."""
    powers = [{"tuned_macro_f1": fold % 2 / 2, "tuned_balanced_accuracy": 0.0} for fold in range(3)]
    monkeypatch.setattr("skinmnist.analysis.operating_points.choose_exponents", lambda *_: powers)
    lesions = np.arange(record.info.table.rows) // 2
    points = operating_points(record.results[:3], record.info.table.class_names, lesions=lesions)
    points = points[points["metric"].str.startswith("lesion_")]
    lists = {key: tuple(rows["metric"]) for key, rows in points.groupby(["fold", "rule"])}
    assert {lists[fold, rule] for fold, rule in lists if rule != "natural_prior"} == {lists[0, "as_trained"]}
    assert "lesion_macro_auc" not in lists[0, "as_trained"]
    assert "lesion_macro_auc" in lists[0, "natural_prior"]


SCRIPT = Path(__file__).parents[2] / "experiments" / "benchmarks" / "recompute_operating_points.py"


@pytest.mark.parametrize("validated", [False, True])
def test_a_short_script_gives_the_same_from_the_files_alone(validated, make_run, monkeypatch, capsys):
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 46
    assert {line.split()[1] for line in lines if line.startswith(("import", "from"))} == {
        "sys",
        "pathlib",
        "numpy",
        "pandas",
        "sklearn",
    }
    run = make_run(samplers=["none", "SMOTE"], models={"svm": {"title": "S", "space": "pixels"}}, n_rows=300)
    if validated:
        run = replace(run, results=tuple(with_validation(result) for result in run.results))
    write_tables(run)
    assert (run.folder / VALIDATION_FILE).exists() == validated
    points = operating_points(run.results, run.info.table.class_names)
    if validated:  # What is chosen there is not what the other folds would choose.
        plain = [replace(result, validation=None) for result in run.results]
        assert not points.equals(operating_points(plain, run.info.table.class_names))
    (run.folder / "operating_points.csv").write_bytes(csv_bytes(points))
    monkeypatch.setattr("sys.argv", ["", str(run.folder)])
    assert runpy.run_path(str(SCRIPT))["gap"] < 1e-9
    assert f"{len(points)} scores recomputed, {len(points)} in the file" in capsys.readouterr().out


def with_validation(result):
    """Return a cell that has answered a part val as well, whose labels are those of other rows."""
    return replace(result, validation=Answers(np.roll(result.labels, 1), result.probabilities))


def test_scores_by_share_are_means_and_paired_changes():
    rng = np.random.default_rng(4)
    samplers = ["none", "SMOTE@0.25", "SMOTE@0.5", "SMOTE", "RandomOverSampler", "TomekLinks"]
    points = pd.DataFrame(
        [
            (sampler, model, 0, fold, rule, metric, rng.random())
            for sampler in samplers
            for model in ("svm", "cnn")
            for fold in range(3)
            for rule, metric in (("natural_prior", "macro_auc"), ("as_trained", "macro_f1"))
            if (sampler, model, fold) != ("SMOTE", "cnn", 2)
        ],
        columns=["sampler", "model", "repeat", "fold", "rule", "metric", "value"],
    )
    found = scores_by_share(points)
    assert set(found["sampler"]) == {"SMOTE"}, "RandomOverSampler has two shares only: none and all"
    assert found.groupby(["model", "metric"])["share"].apply(list).tolist() == [[0.0, 0.25, 0.5, 1.0]] * 4
    for row in found.to_dict("records"):
        folds = [0, 1] if row["model"] == "cnn" else [0, 1, 2]
        name = {0.0: "none", 1.0: "SMOTE"}.get(row["share"], f"SMOTE@{row['share']:g}")
        values = points.set_index(["sampler", "model", "metric", "fold"])["value"]
        own, plain = (
            np.array([values[sampler, row["model"], row["metric"], fold] for fold in folds])
            for sampler in (name, "none")
        )
        assert row["mean"] == pytest.approx(own.mean())
        assert row["change"] == pytest.approx((own - plain).mean())
        assert row["change_sd"] == pytest.approx(np.std(own - plain, ddof=1))
        assert row["cells"] == len(folds)


def test_batches_by_the_root_are_half_of_balanced_batches():
    cells = [("none", 0.1), ("sqrt_batches", 0.3), ("balanced_batches", 0.2)]
    points = pd.DataFrame(
        [(sampler, "cnn", 0, fold, "as_trained", "macro_f1", v) for sampler, v in cells for fold in (0, 1)],
        columns=["sampler", "model", "repeat", "fold", "rule", "metric", "value"],
    )
    found = scores_by_share(points)
    assert found[["sampler", "share", "mean"]].to_numpy().tolist() == [
        ["balanced_batches", 0.0, 0.1],
        ["balanced_batches", 0.5, 0.3],
        ["balanced_batches", 1.0, 0.2],
    ]
    assert scores_by_share(points[points["sampler"] != "none"]).empty


def by_loops(results, alpha):
    """Return coverage and size by pair and class, one picture at a time; all mixes are natural here."""
    found = {}
    for own in results:
        others = [one for one in results if one.cell[:3] == own.cell[:3] and one.cell.fold != own.cell.fold]
        for label, shares in zip(own.labels, own.probabilities, strict=True):
            inside = []
            for code, share in enumerate(shares):
                known = [p[code] for one in others for p in one.probabilities[one.labels == code]]
                known.sort()
                place = int(alpha * (len(known) + 1) + 1e-12)
                if place == 0 or share >= known[place - 1] or share == max(shares):
                    inside.append(code)
            for name in (NAMES[label], ALL_CLASSES):
                found.setdefault((*own.cell[:2], name), []).append((label in inside, len(inside)))
    return {key: np.mean(values, axis=0) for key, values in found.items()}


@pytest.mark.parametrize("alpha", [0.1, 0.04])
def test_coverage_by_loops(make_record, alpha):
    results = make_record(n_lesions=50, repeats=2).results
    table = conformal_coverage(results, NAMES, alpha)
    assert tuple(table.columns) == CONFORMAL_COLUMNS
    expected = by_loops(results, alpha)
    rows = table.set_index(["sampler", "model", "class"])
    assert set(rows.index) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(rows.loc[key, ["coverage", "mean_size"]].astype(float), values)
    assert rows["in_every_set"].equals((rows["calibration_pictures"] + 1) * alpha < 1)
    assert rows["in_every_set"].any() == (alpha < 0.1)


def test_sets_cover_each_class(make_record):
    """Over many lesions, each class is covered at the level asked for; more coverage takes larger sets."""
    results = make_record(n_lesions=1500).results
    sizes = []
    for alpha in (0.3, 0.1):
        table = conformal_coverage(results, NAMES, alpha)
        coverage = table.loc[table["class"] != ALL_CLASSES, "coverage"]
        assert coverage.between(1 - alpha - 0.03, 1).all()
        assert coverage.min() < 1 - alpha + 0.05
        sizes.append(table["mean_size"].mean())
    assert sizes[0] < sizes[1]


def test_the_prior_of_a_model_does_not_change_its_sets(make_record):
    results = make_record(n_lesions=60).results
    even = np.full(3, 1 / 3)
    moved = [
        replace(one, probabilities=change_prior(one.probabilities, one.natural_mix), training_mix=even)
        for one in results
    ]
    shares = ["coverage", "mean_size"]
    both = [conformal_coverage(cells, NAMES, 0.1)[shares] for cells in (results, moved)]
    pd.testing.assert_frame_equal(*both)


def test_a_validation_set_takes_the_place_of_other_folds(make_record):
    results = make_record(n_lesions=60, keep=lambda cell: cell.fold == 0).results
    assert conformal_coverage(results, NAMES, 0.1).empty
    own = [replace(one, validation=Answers(one.labels, one.probabilities)) for one in results]
    table = conformal_coverage(own, NAMES, 0.1)
    # Calibrated on the very rows that are scored, coverage cannot fall below the level.
    assert (table["coverage"] >= 0.9).all()
