"""The reference study: it resumes, its small results are those of its runs, its page is up to date."""

import importlib.metadata
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import skinmnist
from skinmnist.experiment.run_folder.record import read_info

ROOT = Path(__file__).parent.parent
STUDY = ROOT / "experiments" / "study"
PLAN = """
seed = 3
folds = 2
[samplers]
two = ["none", "tuned_plain"]
[[parts]]
name = "tiny"
rows = 120
ratios = [3]
overlaps = [0.3]
models = ["dummy", "logistic_regression", "sklearn.naive_bayes:CategoricalNB"]
samplers = ["two", "RandomOverSampler"]
repeats = 2
"""
CELLS = 3 * 3 * 2 * 2


@pytest.fixture(scope="module")
def scripts():
    """The modules of the study, which import each other as scripts do."""
    names = ("parts", "collect", "effects", "claims", "run", "tables", "figures", "write_up")
    sys.path.insert(0, str(STUDY))
    try:
        yield {name: __import__(name) for name in names}
    finally:
        sys.path.remove(str(STUDY))
        for name in names:
            sys.modules.pop(name, None)


class Killed(skinmnist.Progress):
    """Interrupts a run after some cells."""

    def __init__(self, cells):
        self.left = cells

    def finished(self, outcome, seconds_left):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def study(scripts, tmp_path_factory):
    """A study of one tiny part that was interrupted in the middle and then finished."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "plan.toml").write_text(PLAN)
    (part,) = scripts["parts"].read_plan(folder / "plan.toml")
    run = folder / "runs" / part.name
    whole = scripts["run"].run_comparison
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            scripts["run"], "run_comparison", lambda *a, **k: whole(*a, **(k | {"progress": Killed(5)}))
        )
        with pytest.raises(KeyboardInterrupt):
            scripts["run"].run_part(part, run, jobs=1)
    before = {path.name: path.stat().st_mtime_ns for path in (run / "cells").glob("*.cell")}
    arguments = ["--plan", folder / "plan.toml", "--out", folder / "runs", "--results", folder / "results"]
    arguments = [*map(str, arguments), "--jobs", "1"]
    assert not part.is_finished(run)
    code = scripts["run"].main(arguments)
    return {
        "part": part,
        "run": run,
        "before": before,
        "arguments": arguments,
        "code": code,
        "folder": folder,
    }


def test_a_study_goes_on_after_a_kill(study):
    assert 0 < len(study["before"]) < CELLS
    after = {path.name: path.stat().st_mtime_ns for path in (study["run"] / "cells").glob("*.cell")}
    assert study["before"].items() <= after.items()
    assert study["part"].is_finished(study["run"])


def test_a_failing_cell_is_a_row_with_its_reason(study, scripts):
    results = scripts["collect"].read_collected(study["folder"] / "results").results
    assert study["code"] == 1
    assert len(results) == CELLS
    failed = results[results["status"] == "failed"]
    assert set(failed["model"]) == {"CategoricalNB"}
    assert failed["reason"].str.len().min() > 20
    assert results.loc[results["status"] == "done", "reason"].eq("").all()


def test_a_finished_part_is_not_run_again(study, scripts, monkeypatch, capsys):
    monkeypatch.setattr(scripts["run"], "run_part", pytest.fail)
    scripts["run"].main(study["arguments"])
    assert "1 part, of which 1 finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed = 3", "seed = 4"),
        ("folds = 2", "folds = 3"),
        ("repeats = 2", "repeats = 3"),
        ("0.3", "0.5"),
        ('"two"', '"two", "SMOTE"'),
        ('"dummy"', '"dummy", "svm"'),
    ],
)
def test_a_run_with_other_arguments_is_not_finished(study, scripts, tmp_path, old, new):
    (tmp_path / "plan.toml").write_text(PLAN.replace(old, new))
    (part,) = scripts["parts"].read_plan(tmp_path / "plan.toml")
    assert not part.is_finished(study["run"])


def test_results_are_those_of_the_run(study, scripts):
    collected = scripts["collect"].read_collected(study["folder"] / "results")
    keys = ["sampler", "model", "repeat", "fold"]
    results = collected.results.set_index(keys)
    points = pd.read_csv(study["run"] / "operating_points.csv", keep_default_na=False)
    for (rule, metric), digits in scripts["collect"].SCORES.items():
        own = points[(points["rule"] == rule) & (points["metric"] == metric)].set_index(keys)["value"]
        found = results.loc[own.index, f"{rule}.{metric}"]
        np.testing.assert_allclose(found, own.astype(float), atol=0.5001 * 10.0**-digits)
    timings = pd.read_csv(study["run"] / "timings.csv", keep_default_na=False).set_index(keys)
    assert results.loc[timings.index, "rows_resampled"].tolist() == timings["rows_resampled"].tolist()
    part = collected.parts.iloc[0]
    assert (part["cells"], part["done"] + part["failed"]) == (CELLS, CELLS)
    seconds = timings[["resample_seconds", "fit_seconds", "predict_seconds"]].sum().sum()
    assert part["core_seconds"] == pytest.approx(seconds, abs=0.5)
    assert part["identity"] == read_info(study["run"]).identity[:12]


@pytest.mark.parametrize("digits", [0, 2, 4])
@pytest.mark.parametrize("value", [0.0, 0.5, 1480.2, 100.0, -0.25, -3.0, 0.00001, 10.0])
def test_short_numbers_are_the_numbers(scripts, value, digits):
    assert float(scripts["collect"]._short(value, digits)) == float(f"{value:.{digits}f}")


def test_methods_are_compared_as_in_the_report(study, scripts):
    effects = scripts["effects"]
    found = effects.Study.read(study["folder"] / "results")
    name = effects.on_table("logistic_regression", study["part"].name)
    row = found.row("tiny", effects.TUNED, "RandomOverSampler", name)
    report = pd.read_csv(study["run"] / "comparisons.csv", keep_default_na=False)
    report = report[
        (report["sampler"] == "RandomOverSampler")
        & (report["model"] == "logistic_regression")
        & (report["rule"] == "tuned_macro_f1")
        & (report["against"] == "none")
    ].iloc[0]
    assert row["folds"] == 4
    assert row["difference"] == pytest.approx(float(report["difference"]), abs=1e-4)
    assert row["single_low"] == pytest.approx(float(report["single_low"]), abs=2e-3)
    assert row["tests"] == 2  # Neither none nor its tuned control is a method.


def test_tables_of_synthetic_parts_and_of_single_test_sets(study, scripts):
    effects, tables = scripts["effects"], scripts["tables"]
    found = effects.Study.read(study["folder"] / "results")
    assert scripts["figures"].imbalance_figure(found, "tiny").axes
    row = tables.imbalance_table(found, "tiny").splitlines()[2]
    counts = [[int(word) for word in cell.split(" / ")] for cell in row.strip("| ").split(" | ")[4:]]
    assert row.startswith("| 0.3 | 3:1 |")
    assert [sum(verdicts) for verdicts in counts] == [2, 2, 2, 2]  # One method with two models.
    intervals = pd.DataFrame(
        [("C", "SMOTE", "svm", "macro_f1", 0.1, -0.2, 0.3)],
        columns=["part", "sampler", "model", "metric", "value", "low", "high"],
    )
    single = effects.Study(found.collected._replace(intervals=intervals))
    assert tables.single_test_table(single, "C").splitlines()[2] == (
        "| SMOTE | +0.100 [\N{MINUS SIGN}0.200, +0.300] | – [–, –] |"
    )


def test_an_unknown_part_is_one_sentence(study, scripts, capsys):
    assert scripts["run"].main([*study["arguments"], "--parts", "tinny"]) == 2
    assert capsys.readouterr().err.strip() == (
        "skinmnist: the plan has no part 'tinny'; did you mean 'tiny'?"
    )


def test_a_missing_table_is_named(scripts, tmp_path, monkeypatch, capsys):
    (tmp_path / "hmnist_28_28_RGB.csv").write_text("label\n")
    monkeypatch.setenv("SKINMNIST_DATA", str(tmp_path))
    arguments = ["--out", str(tmp_path / "runs"), "--results", str(tmp_path / "results"), "--parts", "8x8"]
    scripts["parts"]._load.cache_clear()
    assert scripts["run"].main(arguments) == 2
    said = capsys.readouterr().err
    assert "hmnist_8_8_RGB.csv, which was not found" in said
    assert said.count("\n") == 1


def test_the_plan_is_read_and_its_names_are_known(scripts):
    from skinmnist.experiment.grid import resolve_models, resolve_samplers

    parts = scripts["parts"].read_plan()
    assert len({part.name for part in parts}) == len(parts) > 10
    for samplers, models in {(part.samplers, part.models) for part in parts}:
        assert len(resolve_samplers(samplers)) == len(samplers)
        resolve_models(models)


def test_the_page_and_its_figures_are_what_the_results_say(scripts, capsys):
    # Another version of matplotlib or of a font draws other pixels; the page must still be the same.
    code = scripts["write_up"].main(["--check"])
    differing = [line for line in capsys.readouterr().out.splitlines() if line.startswith("differs")]
    assert code == bool(differing)
    if constraint("matplotlib") != importlib.metadata.version("matplotlib"):
        differing = [line for line in differing if not line.endswith(".png")]
    assert not differing, "run python experiments/study/write_up.py"


def constraint(package):
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return re.search(rf"^{package}==(\S+)$", pins, re.M)[1]


def test_committed_results_are_small_and_hold_no_pixels(scripts):
    names = [getattr(scripts["collect"], name) for name in ("RESULTS", "SUBGROUPS", "INTERVALS", "PARTS")]
    assert sum((STUDY / name).stat().st_size for name in names) < 1_000_000
    assert all(path.stat().st_size < 200_000 for path in (ROOT / "docs" / "images").glob("study-*.png"))
    results = scripts["collect"].read_collected(STUDY).results
    cells = results[["part", "sampler", "model", "repeat", "fold"]]
    assert not cells.duplicated().any()
    scores = results.loc[results["status"] == "done"].filter(regex="accuracy|macro|recall")
    assert scores.notna().all(axis=None)
    assert ((scores >= 0) & (scores <= 1)).all(axis=None)


def test_a_page_without_results_is_one_sentence(scripts, tmp_path, capsys):
    assert scripts["write_up"].main(["--results", str(tmp_path)]) == 2
    assert "results.csv was not found" in capsys.readouterr().err


def test_a_claim_is_seen_only_if_its_verdicts_are_decided(scripts, monkeypatch):
    claims = scripts["claims"]
    claim = claims.Claim("paper", "text", claims.RANKING, ("SMOTE",), claims.NO_GAIN)
    verdicts = {
        "yes": ["worse", "practically equal"],
        "undecided": ["undecided"] * 2,
        "no": ["better"] * 2,
        "1 undecided, 1 agree": ["worse", "undecided"],
        "1 undecided, 1 agree, 1 contradict": ["worse", "better", "undecided"],
        "not run": [],
    }
    for said, given in verdicts.items():
        monkeypatch.setattr(
            claims.Claim, "rows", lambda *_, given=given: pd.DataFrame({"verdict": given}, dtype=str)
        )
        assert claim.seen(None, []) == said


def test_a_small_difference_does_not_contradict_a_gain(scripts, monkeypatch):
    claims = scripts["claims"]
    claim = claims.Claim("paper", "text", claims.RANKING, ("SMOTE",), claims.GAIN)
    given = pd.DataFrame({"verdict": ["practically equal", "better", "worse"]}, dtype=str)
    monkeypatch.setattr(claims.Claim, "rows", lambda *_: given)
    assert claim.seen(None, []) == "1 agree, 1 below .01, 1 contradict"


def test_a_reference_may_have_its_own_rule(scripts):
    effects = scripts["effects"]
    study = effects.Study.read(STUDY)
    cells = study.group("8x8").set_index("sampler")
    found = study.compare("8x8", effects.CONTROL_BALANCED).set_index(["sampler", "model"])
    model = study.models("8x8")[0]
    own = cells[cells["model"] == model]
    row = found.loc[("SMOTE", model)]
    assert row["value"] == pytest.approx(own.loc["SMOTE", "as_trained.balanced_accuracy"].mean())
    assert row["against_value"] == pytest.approx(
        own.loc["none", "tuned_balanced_accuracy.balanced_accuracy"].mean()
    )
