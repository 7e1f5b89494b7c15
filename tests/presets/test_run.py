"""A preset run as published and honestly: what parts the two, and that only one stands in the tables."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from skinmnist.datasets.cache import _reached
from skinmnist.datasets.files import LOCK_FILE, remove_owned
from skinmnist.datasets.synthetic.lesions import make_lesions
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.run_folder.folder import RUN
from skinmnist.presets.claims import compare_claims, keras_scores, read_claims
from skinmnist.presets.presets import published_trial, read_preset
from skinmnist.presets.run import other_data, run_preset
from skinmnist.reporting.page import write_report

PRESET = """
[system]
title = "A <system>"
page = "Its <page>"
about = "About it."
choices = ["A layer of ours."]
folds = 3
holdout = {holdout}
sampler = "RandomOverSampler"
[claims]
accuracy = 0.9
[[networks]]
name = "net"
layers = [{{ convolution = 4 }}, {{ max_pool = 2 }}, {{ flatten = true }}, {{ dense = 4 }}]
[training]
epochs = 2
monitor = "accuracy"
stop_patience = 1
[augmentation]
flip = "horizontal"
copies_only = {copies_only}
[published]
by_image = true
sampler_first = {sampler_first}
watches_test = {watches_test}
"""


def preset(folder, holdout="true", sampler_first="true", watches_test="true", copies_only="false"):
    path = folder / "mine.toml"
    said = {"holdout": holdout, "sampler_first": sampler_first, "watches_test": watches_test}
    path.write_text(PRESET.format(copies_only=copies_only, **said), encoding="utf-8")
    return read_preset(path)


@pytest.fixture(scope="module")
def table():
    return make_lesions(150, size=8)


def test_keras_scores_are_micro_averages_at_one_half():
    random_state = np.random.default_rng(0)
    probabilities = random_state.dirichlet(np.full(4, 0.4), 200)
    labels = random_state.integers(0, 4, 200)
    found = keras_scores(labels, probabilities)
    truth, said = np.eye(4, dtype=int)[labels], (probabilities > 0.5).astype(int)
    assert found["precision"] == pytest.approx(precision_score(truth, said, average="micro"))
    assert found["recall"] == pytest.approx(recall_score(truth, said, average="micro"))
    assert found["loss"] == pytest.approx(-np.log(probabilities[np.arange(200), labels].clip(1e-7)).mean())
    assert "precision" not in keras_scores(labels, np.full((200, 4), 0.25))


def test_a_page_claims_for_its_own_network_only():
    found = compare_claims(["own", "variant"], "none", {"accuracy": 0.9}, [], [])
    said = found[found["metric"] == "accuracy"].set_index("network")["claimed"]
    assert said["own"] == 0.9
    assert np.isnan(said["variant"])


def test_as_published_copies_stand_on_both_sides_and_the_test_is_monitored(tmp_path, table):
    mine = preset(tmp_path, holdout="false")
    plan = make_plan(table, mine.samplers, mine.models(), 3, 1, None, 0, None)
    trial = published_trial(mine, table, plan)
    assert trial.task.validate_on_held_out
    assert trial.task.models["net"].validation_share == 0
    counts = np.bincount(trial.table.labels)
    assert (counts == counts[0]).all()
    sides = trial.task.folds[0]
    rare = trial.table.labels == int(np.argmin(np.bincount(table.labels)))
    inside = {row.tobytes() for row in trial.table.pixels[rare & (sides != 0)]}
    held_out = [row.tobytes() in inside for row in trial.table.pixels[rare & (sides == 0)]]
    assert np.mean(held_out) > 0.9
    assert {cell.fold for cell in trial.cells} == {0, 1, 2}


def test_as_published_without_monitoring_the_test_training_pictures_are_monitored(tmp_path, table):
    mine = preset(tmp_path, watches_test="false")
    plan = make_plan(table, mine.samplers, mine.models(), 3, 1, "holdout", 0, None)
    trial = published_trial(mine, table, plan)
    assert not trial.task.validate_on_held_out
    assert trial.task.models["net"].validation_share == mine.models()["net"].validation_share > 0
    assert "validation_loss" in fit_cell(trial.cells[0], trial.table, trial.task).history


def test_as_published_every_augmented_copy_is_another_picture(tmp_path, table):
    mine = preset(tmp_path, holdout="false", copies_only="true")
    plan = make_plan(table, mine.samplers, mine.models(), 3, 1, None, 0, None)
    made = published_trial(mine, table, plan).table
    plain = published_trial(preset(tmp_path, holdout="false"), table, plan).table
    assert np.array_equal(made.labels, plain.labels)
    assert np.array_equal(made.pixels[: len(table)], plain.pixels[: len(table)])
    # Only flips are asked for: a copy is its picture, or its picture from right to left.
    copies, sources = (each.pixels[len(table) :].reshape(-1, 8, 8, 3) for each in (made, plain))
    same = (copies == sources).all(axis=(1, 2, 3))
    flipped = (copies == sources[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | flipped).all()
    assert 0.2 < flipped.mean() < 0.8


def test_a_table_that_is_not_the_pages_data_is_named(tmp_path, table):
    path = tmp_path / "nine.toml"
    mine = preset(tmp_path)
    words = 'about = "About it."\nclasses = 9\nsize = "75x100"'
    path.write_text((tmp_path / "mine.toml").read_text().replace('about = "About it."', words))
    drawn = "synthetic pictures instead of real ones"
    assert other_data(mine, table) == [drawn]
    assert other_data(mine, replace(table, synthetic=False)) == []
    assert other_data(read_preset(path), table) == [
        "7 classes instead of the page's 9",
        "pictures of 8x8 instead of the page's 75x100",
        drawn,
    ]


def test_by_image_only_parts_lesions_and_leaves_the_rows(tmp_path, table):
    mine = preset(tmp_path, sampler_first="false")
    plan = make_plan(table, mine.samplers, mine.models(), 3, 1, "holdout", 0, None)
    trial = published_trial(mine, table, plan)
    assert trial.table is table
    assert not trial.task.by_lesion
    assert len(trial.cells) == 1


@pytest.mark.usefixtures("bare_figures")
def test_a_run_leaves_claims_and_a_report_and_is_found_again(tmp_path, table):
    mine, out = preset(tmp_path), tmp_path / "run"
    first = run_preset(mine, table, out=out, jobs=1)
    assert not first.failures
    assert not first.record.failures
    assert {result.cell.fold for result in first.record.results} == {0}
    claims = first.claims.set_index("metric")
    assert claims.loc["accuracy", "claimed"] == 0.9
    assert claims.loc["macro_f1", ["as_published", "honest"]].notna().all()
    honest = first.record.scores.query("sampler == 'RandomOverSampler' and metric == 'accuracy'")["value"]
    assert claims.loc["accuracy", "honest"] == pytest.approx(honest.mean())
    assert len(first.record.scores.query("metric == 'accuracy'")) == 2
    info = first.record.info
    kept = read_claims(out, info)
    assert read_claims(out, replace(info, protocol=replace(info.protocol, seed=1))) is None
    assert kept is not None
    assert kept.augmented is not None
    assert kept.augmented.shape[2:] == (8, 8, 3)
    again = run_preset(mine, table, out=out, jobs=1)
    assert again.claims.equals(first.claims)
    page = write_report(out).read_text(encoding="utf-8")
    assert "Claimed, as published, honest" in page
    assert "A &lt;system&gt;, after the page “Its &lt;page&gt;”." in page
    for column in ("as published", "honest"):
        assert f">{column}, gaps filled by us</th>" in page
    assert "<li>A layer of ours.</li>" in page
    assert "one held-out part of 3" in page
    assert "synthetic pictures instead of real ones" in page
    changed = preset(tmp_path, sampler_first="false")
    before = {path.name for path in (out / "published").glob("*.cell")}
    run_preset(changed, table, out=out, jobs=1)
    assert {path.name for path in (out / "published").glob("*.cell")} > before
    remove_owned(out, RUN)
    assert read_claims(out, info) is None
    assert [path.name for path in (out / "published").iterdir()] == [LOCK_FILE]


def test_cells_as_published_do_not_go_stale_with_how_runs_are_stored_or_shown():
    reached = {path.stem for path in _reached(["skinmnist.presets.presets"])}
    assert {"fit_cell", "stacked", "splits", "presets"} <= reached
    assert not {"comparison", "runner", "folder", "page"} & reached
