import json

import numpy as np
import pytest
from PIL import Image

from skinmnist import make_lesions
from skinmnist.evaluation.keeping import train_for_keeps
from skinmnist.predict import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "dummy.skm"
    path.write_bytes(train_for_keeps(make_lesions(60, size=8, random_state=1), "dummy").content)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.JPG", "c.webp"):
        Image.fromarray(np.full((12, 9, 3), 140, np.uint8)).save(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"


def test_table(model, folder, capsys):
    assert main([model, "pictures/a.png", "--top", "2"]) == 0
    shown = capsys.readouterr()
    header, row, *_ = shown.out.splitlines()
    assert row.startswith("pictures/a.png  Melanocytic nevus")
    assert header.index("probabilities") == row.index("nv ")
    assert shown.out.count("%") == 2
    assert "no medical device" in shown.out
    assert "warning: The model was trained on pictures that skinmnist has drawn" in shown.out
    assert not shown.err


def test_json_lines(model, folder, capsys):
    assert main([model, "pictures", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["image"].rpartition("/")[2] for one in told] == ["a.png", "b.JPG", "c.webp"]
    assert all(sum(one["probabilities"].values()) == pytest.approx(1) for one in told)
    assert len(told[0]["top"]) == 3


def test_patterns_and_repeated_names(model, folder, capsys):
    assert main([model, "pictures/*.png", "pictures/a.png", "**/*.webp", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_broken_picture_is_one_line_and_the_others_go_on(model, folder, capsys):
    (folder / "aa.png").write_bytes(b"\x89PNG broken")
    assert main([model, "pictures", "missing.png", "*.bmp", "--json"]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3
    complaints = shown.err.splitlines()
    assert len(complaints) == 3
    assert all(line.startswith("skinmnist: ") for line in complaints)
    assert any("aa.png" in line for line in complaints)
    assert any("missing.png" in line for line in complaints)


def test_explanations_are_beside_the_pictures_and_no_pictures(model, folder, capsys):
    assert main([model, "pictures", "--explain"]) == 0
    assert {file.name for file in folder.glob("*-explained.png")} == {
        "a-explained.png",
        "b-explained.png",
        "c-explained.png",
    }
    capsys.readouterr()
    assert main([model, "pictures", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_names_cannot_steer_the_terminal(model, folder, capsys):
    (folder / "a.png").rename(folder / "a\x1b[2J\nz.png")
    (folder / "b\x1b.png").write_bytes(b"")
    assert main([model, "pictures"]) == 1
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "\\x1b" in shown.out


@pytest.mark.parametrize("arguments", [["none.skm", "x.png"], ["pictures/notes.txt", "pictures"]])
def test_bad_models_are_bad_usage(arguments, folder, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_bad_top(model, folder, capsys):
    assert main([model, "pictures", "--top", "0"]) == 2
    assert "received --top 0" in capsys.readouterr().err
