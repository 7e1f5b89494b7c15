"""Trials: each splits, resamples or tunes as it says, and changes nothing else."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.splits import LEFT_OUT
from skinmnist.leakage.scenario import (
    INNER,
    PENALTY_FACTORS,
    SAMPLERS_BEFORE,
    SEEDS,
    SEEN,
    LeakScenario,
    by_image,
    candidates,
    honest,
    inner_fold,
    resampled_first,
    tuned,
)

MODELS = {"tree": DecisionTreeClassifier(max_features=20)}


@pytest.fixture(scope="module")
def scenario(lesions):
    return LeakScenario(lesions, make_plan(lesions, ("none", *SAMPLERS_BEFORE), MODELS, 3, 1, None, 0, None))


def test_copies_stand_on_both_sides(scenario, lesions):
    trial = resampled_first(scenario, "RandomOverSampler")
    assert trial.table.class_counts.tolist() == [lesions.class_counts.max()] * 7
    folds = trial.task.folds[0]
    rare = trial.table.labels == lesions.class_counts.argmin()
    homes = [{row.tobytes() for row in trial.table.pixels[rare & (folds == fold)]} for fold in range(3)]
    assert homes[0] & homes[1]
    known = {row.tobytes() for row in np.asarray(lesions.pixels)}
    assert {row.tobytes() for row in trial.table.pixels} == known


def test_rows_of_smote_lie_among_the_pictures(scenario, lesions):
    table = resampled_first(scenario, "SMOTE").table
    np.testing.assert_array_equal(table.pixels[: len(lesions)], lesions.pixels)
    assert table.pixels.dtype == np.uint8
    for code in range(7):
        made = table.pixels[len(lesions) :][table.labels[len(lesions) :] == code]
        own = lesions.pixels[lesions.labels == code]
        assert (made >= own.min(axis=0)).all()
        assert (made <= own.max(axis=0)).all()


def test_only_rows_that_take_part_are_resampled(lesions):
    rows = np.flatnonzero(np.arange(len(lesions)) % 4 > 0)
    plan = make_plan(lesions, ("none",), MODELS, 2, 1, "image", 0, rows)
    table = resampled_first(LeakScenario(lesions, plan), "RandomOverSampler").table
    taking_part = {row.tobytes() for row in np.asarray(lesions.pixels)[rows]}
    assert {row.tobytes() for row in table.pixels} == taking_part


def test_a_leaky_cell_recomputed(scenario):
    """Ten lines of scikit-learn that resample first give the very accuracy that the trial gives."""
    trial = resampled_first(scenario, "RandomOverSampler")
    found = fit_cell(trial.cells[0], trial.table, trial.task)
    rows, labels = np.asarray(trial.table.pixels).astype(np.float32), trial.table.labels
    train, test = next(StratifiedKFold(3, shuffle=True, random_state=0).split(rows, labels))
    np.testing.assert_array_equal(found.rows, test)
    seed = int(np.random.SeedSequence([0, 0, 0]).generate_state(2)[1] >> 1)
    tree = DecisionTreeClassifier(max_features=20, random_state=seed).fit(rows[train], labels[train])
    np.testing.assert_array_equal(found.predicted, tree.predict(rows[test]))


def test_a_budget_is_that_of_the_rows_before_resampling(lesions):
    plan = make_plan(lesions, ("none",), ["random_forest_pixels"], 3, 1, None, 0, None)
    trial = resampled_first(LeakScenario(lesions, plan), "RandomOverSampler")
    spec = trial.task.models["random_forest_pixels"]
    from skinmnist.models.spec import Setting

    assert spec.build(Setting(lesions.shape, 7, 10_000, 0), "none").rows_per_tree == 240


def test_by_image_parts_lesions_and_honest_does_not(scenario, lesions):
    for trial, parted in ((by_image(scenario), True), (honest(scenario, ("none",), 3), False)):
        homes = pd.DataFrame({"lesion": lesions.lesion_ids, "fold": trial.task.folds[0]}).drop_duplicates()
        assert homes.duplicated("lesion").any() == parted


def test_tuning_inside_never_sees_the_reported_fold(scenario):
    seen, inner = tuned(scenario)
    assert (seen.name, inner.name) == (SEEN, INNER)
    assert len(seen.cells) == len(inner.cells) == SEEDS
    for cell in inner.cells:
        folds = inner.task.folds[cell.repeat]
        reported = scenario.plan.task.folds[0] == cell.repeat
        assert (folds[reported] == LEFT_OUT).all()
        assert cell.fold == inner_fold(cell.repeat, 3) != cell.repeat
        np.testing.assert_array_equal(folds[~reported], scenario.plan.task.folds[0][~reported])


def test_what_tuning_chooses_among(lesions):
    models = {"line": LogisticRegression(C=0.5), "tree": DecisionTreeClassifier(), "dummy": "dummy"}
    plan = make_plan(lesions, ("none",), models, 3, 1, None, 0, None)
    found = candidates(LeakScenario(lesions, plan))
    assert {name: len(settings) for name, settings in found.items() if name != "dummy"} == {
        "line": len(PENALTY_FACTORS),
        "tree": SEEDS,
    }
    from skinmnist.models.spec import Setting

    setting = Setting(lesions.shape, 7, 100, 0)
    assert [spec.build(setting, "none").C for spec in found["line"].values()] == [
        0.5 * factor for factor in PENALTY_FACTORS
    ]
