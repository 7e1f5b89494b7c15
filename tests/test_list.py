"""What the command lists is what there is, and each line says what it is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from skinmnist.analysis.checks import CHECKS
from skinmnist.datasets.files import shipped
from skinmnist.experiment.given_splits import PUBLISHED
from skinmnist.experiment.metrics import METRICS
from skinmnist.list import KINDS, MODEL_LINES, SPLIT_LINES, main
from skinmnist.models.registry import MODELS
from skinmnist.resampling.strategies import GROUPS, SAMPLERS, STRATEGIES

THERE = {
    "samplers": [*STRATEGIES, *SAMPLERS, "NAME@SHARE", "sweep:NAME", *GROUPS],
    "strategies": [*STRATEGIES, *SAMPLERS],
    "models": [*MODELS, "ensemble"],
    "metrics": [*METRICS, "recall_<class>", "precision_<class>", "f1_weighted"],
    "presets": sorted(path.stem for path in shipped().glob("*.toml")),
    "checks": [check.code for check in CHECKS],
    "splits": ["lesion", "image", "holdout", "own", *PUBLISHED, "column:NAME", "FILE.csv"],
}


def listed(capsys, *arguments):
    assert main([*arguments]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return dict(line.split(maxsplit=1) for line in printed.out.splitlines())


@pytest.mark.parametrize("kind", THERE)
def test_everything_is_listed_once_in_one_line(kind, capsys):
    found = listed(capsys, kind)
    assert [*found] == THERE[kind]
    lengths = [len(line) for name, line in found.items() if name not in GROUPS]
    assert all(20 <= length <= 160 for length in lengths) or kind in ("checks", "models")


def test_without_a_kind_the_kinds_are_listed(capsys):
    assert [*listed(capsys)] == [*KINDS]


@pytest.mark.parametrize("form", ["samplers", "SAMPLERS", "sampler"])
def test_a_kind_goes_by_one_name_in_any_form(form, capsys):
    assert "SMOTE" in listed(capsys, form)


def test_lines_are_of_what_there_is():
    assert MODEL_LINES.keys() == MODELS.keys()
    assert [*SPLIT_LINES] == THERE["splits"]


def test_lines_of_models_say_their_cost():
    said = {name: re.search(r"about (\d+) (s|minutes) a fold", line) for name, line in MODEL_LINES.items()}
    seconds = {
        name: (int(found[1]), 60 if found[2] == "minutes" else 1) for name, found in said.items() if found
    }
    assert {"cnn", "cnn_thorough"} <= seconds.keys()
    for name, (number, unit) in seconds.items():
        assert number == round(MODELS[name].cost.seconds / unit), name


def test_checks_say_their_titles_and_severities(capsys):
    assert listed(capsys, "checks") == {check.code: f"{check.title} ({check.severity})" for check in CHECKS}


def test_what_takes_a_strategy_is_said(capsys):
    found = listed(capsys, "samplers")
    assert found["focal_loss"].endswith("; networks only")
    assert found["class_weight"].endswith("; models that take weights")
    assert not found["none"].endswith("only")


def test_a_preset_of_ones_own_is_listed_and_other_files_are_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('[system]\ntitle = "Mine"\nclaim = "It claims 1."\n')
    Path("pyproject.toml").write_text('[project]\nname = "x"\n')
    Path("torn.toml").write_text("[system\n")
    found = listed(capsys, "presets")
    assert found["mine"] == "Mine. It claims 1"
    assert not {"pyproject", "torn"} & found.keys()


def test_an_unknown_kind_is_corrected(capsys):
    assert main(["sampels"]) == 2
    assert "unknown kind 'sampels'; did you mean 'samplers'? (" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_listing_is_light(kind):
    code = f"import sys; from skinmnist.list import main; main(['{kind}']); print(*sys.modules)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"sklearn", "imblearn", "scipy", "pandas", "tensorflow", "matplotlib"} & set(found)
