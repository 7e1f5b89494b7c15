"""What the door of comparisons does with a preset before anything is trained."""

from pathlib import Path

import pandas as pd
import pytest

from skinmnist.compare import main
from skinmnist.preset import claims_table

PRESETS = Path(__file__).parents[1] / "experiments"


def test_a_preset_is_described_layer_by_layer(capsys):
    assert main(["--describe", str(PRESETS / "three_convolutions.toml")]) == 0
    told = capsys.readouterr().out
    assert "pictures of 75 x 100 x 3" in told
    for count in ("7,168", "295,040", "73,792", "286,784", "8,320", "903", "672,007"):
        assert f" {count}\n" in told


@pytest.mark.parametrize("option", [["--folds", "3"], ["--quick"], ["--models", "svm"], ["--split", "image"]])
def test_what_a_preset_says_itself_is_refused_as_an_option(option, capsys):
    assert main(["--preset", str(PRESETS / "kfold_cnn.toml"), *option]) == 2
    assert f"received {option[0]} together with --preset" in capsys.readouterr().err


def test_a_preset_that_is_not_there_is_one_sentence(capsys):
    assert main(["--describe", "none.toml"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_claims_are_laid_out_with_a_dash_for_what_nobody_knows():
    row = {"network": "net", "sampler": "none", "metric": "accuracy", "claimed": None, "as_published": 0.5}
    lines = claims_table(pd.DataFrame([row | {"honest": 0.25}])).splitlines()
    assert lines[1].split() == ["net", "accuracy", "–", "0.500", "0.250"]
