"""The command of presets, before anything is trained: how a preset is found, and what describes it."""

from pathlib import Path

import pandas as pd
import pytest

from skinmnist.__main__ import main as skinmnist_main
from skinmnist.preset import claims_table, main

PRESETS = Path(__file__).parents[1] / "experiments"


@pytest.mark.parametrize("name", [str(PRESETS / "three_convolutions.toml"), "Three_Convolutions"])
def test_a_preset_is_described_layer_by_layer(name, capsys):
    assert skinmnist_main(["preset", "describe", name]) == 0
    printed = capsys.readouterr().out
    assert "Page: Skin-cancer-Lesion-Classification\n" in printed
    assert "pictures of 75 x 100 x 3" in printed
    for count in ("7,168", "295,040", "73,792", "286,784", "8,320", "903", "672,007"):
        assert f" {count}\n" in printed


@pytest.mark.parametrize(
    "arguments",
    [[], ["kfold_cnn"], ["run"], ["describe", "kfold_cnn", "--jobs", "2"]]
    + [["run", "kfold_cnn", *option] for option in (["--folds", "3"], ["--quick"], ["--models", "svm"])],
)
def test_what_a_preset_fixes_is_no_option(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    assert "python -m skinmnist.preset" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["run", "describe"])
def test_an_unknown_preset_is_one_sentence_that_corrects_it(action, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text('[system]\ntitle = "Own"\n', encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    assert main([action, "kfold"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "unknown preset 'kfold'; did you mean 'kfold_cnn'? (`skinmnist list presets` shows all)" in error
    assert main([action, "pyprojec"]) == 2
    assert "unknown preset 'pyprojec'; expected a TOML file, or a name that" in capsys.readouterr().err


def test_claims_are_laid_out_with_a_dash_for_what_is_unknown():
    row = {"network": "net", "sampler": "none", "metric": "accuracy", "claimed": None, "as_published": 0.5}
    lines = claims_table(pd.DataFrame([row | {"honest": 0.25}])).splitlines()
    assert lines[1].split() == ["net", "accuracy", "–", "0.500", "0.250"]
