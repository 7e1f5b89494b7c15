"""Presets: every shipped one is whole, and what is none is refused with the valid keys listed."""

from pathlib import Path

import pytest

from skinmnist.errors import InputError
from skinmnist.presets.presets import find_preset, read_preset

SHIPPED = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))

WHOLE = """
[system]
title = "A system"
sampler = "RandomOverSampler"
[claims]
accuracy = 0.9
[[networks]]
name = "net"
layers = [{ convolution = 4 }, { flatten = true }, { dense = 3 }]
[training]
epochs = 2
[published]
sampler_first = true
"""


def written(folder, text):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_there_are_some():
    assert len(SHIPPED) >= 5


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_preset_is_whole(path):
    preset = read_preset(path)
    assert preset.name == path.stem
    assert preset.head.about
    assert preset.head.claim
    assert preset.head.choices
    specs = preset.models()
    assert list(specs) == [network.name for network in preset.networks]
    assert len({spec.fingerprint for spec in specs.values()}) == len(specs)
    head = path.read_text(encoding="utf-8").partition("[system]")[0].splitlines()
    assert head[0].startswith(f"# python -m skinmnist.preset run {path.stem} ")
    assert any(line.startswith("# Time: ") for line in head)
    assert any("as published, honest" in line.lower() or "honest (on" in line for line in head)


def test_only_callbacks_hold_out_training_lesions(tmp_path):
    with_patience = WHOLE.replace("epochs = 2", "epochs = 2\nstop_patience = 1")
    assert read_preset(written(tmp_path, WHOLE)).models()["net"].validation_share == 0
    preset = read_preset(written(tmp_path, with_patience))
    assert preset.models()["net"].validation_share > 0
    assert preset.models(validation_share=0.0)["net"].validation_share == 0


def test_a_changed_network_has_another_fingerprint(tmp_path):
    first = read_preset(written(tmp_path, WHOLE)).models()["net"].fingerprint
    again = read_preset(written(tmp_path, WHOLE)).models()["net"].fingerprint
    other = (
        read_preset(written(tmp_path, WHOLE.replace("dense = 3", "dense = 4"))).models()["net"].fingerprint
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[training]", "[trainig]", "valid tables are system"),
        ("epochs = 2", "epoch = 2", "valid keys are epochs"),
        ("epochs = 2", 'epochs = "two"', "whole number"),
        ("epochs = 2", 'monitor = "f1"', "'loss' or 'accuracy'"),
        ("accuracy = 0.9", "acuracy = 0.9", "accuracy, precision"),
        ('title = "A system"', "", "no title"),
        ('"RandomOverSampler"', '"RandomOverSampla"', "RandomOverSampla"),
        ("[[networks]]", "[networks]", "array of tables"),
        ('name = "net"', 'name = "net"\nlike = "net"', "both layers and like"),
        ("sampler_first = true", "sampler_first = 1", "true or false"),
        ('"RandomOverSampler"', '"none"', "sampler that makes rows"),
        ("{ flatten = true }, ", "", "exactly one flatten"),
        ("{ dense = 3 }]", "3]", "not tables"),
        ('sampler = "R', 'size = "28"\nsampler = "R', "height x width"),
        ('sampler = "R', 'folds = 1\nsampler = "R', "at least 2"),
        ("epochs = 2", "learning_rate = 0", "learning_rate = 0; expected a positive number"),
        ("epochs = 2", "rate_factor = 2", "less than 1"),
        ("[published]", "[augmentation]\nrotation = 400\n[published]", "at most 360"),
        ("[published]", "[augmentation]\nshear = 2\n[published]", "at most 1"),
        ("[claims]", "[claims", "not valid TOML"),
    ],
)
def test_what_is_no_preset_is_refused_in_one_sentence(tmp_path, old, new, words):
    assert old in WHOLE
    with pytest.raises(InputError, match=words) as caught:
        read_preset(written(tmp_path, WHOLE.replace(old, new)))
    assert "\n" not in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_a_preset_is_found_by_its_name(tmp_path, monkeypatch):
    for path in SHIPPED:
        assert find_preset(str(path)) == path
        assert find_preset(path.stem.upper()) == find_preset(path.name) == path
    monkeypatch.chdir(tmp_path)
    own = written(tmp_path, WHOLE)
    assert find_preset("Mine").resolve() == own
    with pytest.raises(
        InputError, match=r"no preset 'no/folder/Kfold_CNN\.toml'; did you mean 'kfold_cnn'\?"
    ):
        find_preset("no/folder/Kfold_CNN.toml")
    with pytest.raises(InputError, match="no preset 'no/mine_too'; name a TOML file, or"):
        find_preset("no/mine_too")
    with pytest.raises(InputError, match=r"unknown preset 'their'; expected a TOML file, or a name"):
        find_preset("their")


def test_a_preset_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml cannot be read"):
        read_preset(tmp_path / "none.toml")
