import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinmnist import make_lesions
from skinmnist.datasets.images.pictures import open_picture
from skinmnist.experiment.train_model import train_model
from skinmnist.predict import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "dummy.skm"
    path.write_bytes(train_model(make_lesions(60, size=8, random_state=1), "dummy").content)
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
    picture = Path("pictures", "a.png")  # A flat grey, unlike any lesion.
    assert row.startswith(f"{picture}  out of distribution")
    assert header.index("probabilities") == row.index("nv ")
    assert shown.out.count("%") == 2
    assert "not a medical device" in shown.out
    assert shown.out.count("warning: The model was trained on synthetic pictures") == 1
    assert not shown.err


def test_columns_align_with_undecided_answers(model, folder, capsys):
    table = make_lesions(60, size=8, random_state=1)
    rng = np.random.default_rng(0)
    for number in range(3):
        noisy = table.pixels[number].reshape(8, 8, 3) + rng.integers(0, 3, (8, 8, 3))
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / f"lesion{number}.png")
    assert main([model, "pictures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header, *rows = [line for line in lines if line.startswith(("picture ", f"pictures{os.sep}"))]
    column = header.index("probabilities")
    assert len(rows) == 6
    assert all(row[column - 2 : column].isspace() and not row[column].isspace() for row in rows)


def test_json_lines(model, folder, capsys):
    assert main([model, "pictures", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(one["image"]).name for one in answers] == ["a.png", "b.JPG", "c.webp"]
    assert all(sum(one["probabilities"].values()) == pytest.approx(1) for one in answers)
    assert len(answers[0]["top"]) == 3


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("https://example.org/a.png", "is a web address; expected a file, so download the picture first"),
        ("HTTP://example.org/a.png", "is a web address; expected a file, so download the picture first"),
        (".", "or the pattern '**' for pictures in its subfolders"),
    ],
)
def test_names_without_a_picture_say_what_to_do(name, said, model, folder, capsys):
    assert main([model, name]) == 1
    (complaint,) = capsys.readouterr().err.splitlines()
    assert f" {name} " in complaint
    assert complaint.endswith(said)
    assert main([model, "**", "--json"]) == 0, "the pattern that is named has the pictures"


@pytest.mark.parametrize("content", [b"no archive", b"PK\x05\x06" + bytes(18), None])
def test_a_bad_medmnist_file_is_one_line_and_the_others_go_on(content, model, folder, capsys):
    bad = folder / "bad.npz"
    if content is not None:
        bad.write_bytes(content)
    assert main([model, "pictures/a.png", str(bad), "pictures/b.JPG", "--json"]) == 1
    shown = capsys.readouterr()
    answered = [json.loads(line)["image"] for line in shown.out.splitlines()]
    assert answered == [str(Path("pictures", name)) for name in ("a.png", "b.JPG")]
    (complaint,) = shown.err.splitlines()
    assert complaint.startswith("skinmnist: ")
    assert "bad.npz" in complaint


@pytest.mark.parametrize("name", ["pictures", "pictures/*", "**/*.png"])
def test_hidden_files_are_no_pictures(name, model, folder, capsys):
    for hidden in ("._a.png", "._d.tif"):
        (folder / hidden).write_bytes(b"\0\5\x16\7 of macOS")
    assert main([model, name, "--json"]) == 0
    shown = capsys.readouterr()
    assert "a.png" in shown.out
    assert "._" not in shown.out + shown.err


def test_explanations_are_beside_the_pictures_and_no_pictures(model, folder, capsys):
    assert main([model, "pictures", "--explain"]) == 0
    assert f"explained: {Path('pictures', 'a.png-explained.png')}" in capsys.readouterr().out
    assert {file.name for file in folder.glob("*-explained.png")} == {
        "a.png-explained.png",
        "b.JPG-explained.png",
        "c.webp-explained.png",
    }
    capsys.readouterr()
    assert main([model, "pictures", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_where_every_picture_fails_there_is_no_header(model, folder, capsys):
    assert main([model, "missing.png"]) == 1
    assert "probabilities" not in capsys.readouterr().out


def test_pictures_of_one_stem_have_their_own_explanations(model, folder, capsys):
    for name in ("a.jpg", "b-explained.jpg"):
        Image.fromarray(np.full((12, 9, 3), 90, np.uint8)).save(folder / name)
    assert main([model, "pictures", "--explain", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert len(list(folder.glob("*-explained.png"))) == 5


def test_a_picture_is_opened_once(model, folder, monkeypatch, capsys):
    opened = []

    def spy(source):
        opened.append(source)
        return open_picture(source)

    monkeypatch.setattr("skinmnist.inference.classifier.open_picture", spy)
    assert main([model, "pictures/a.png", "--explain"]) == 0
    assert [source for source in opened if not isinstance(source, np.ndarray)] == [Path("pictures/a.png")]


def test_names_that_cannot_be_looked_up_are_one_line_each(model, folder, monkeypatch, capsys):
    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbidden)
    assert main([model, "a" * 300, "pictures", "pictures/a.png", "--json"]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1
    long, locked = shown.err.splitlines()
    assert "cannot be read (File name too long" in long or "(file name too long)" in long
    assert "pictures cannot be read (Permission denied); check its name and rights" in locked


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


def test_the_card_is_printed_with_and_without_pictures(model, folder, capsys):
    assert main([model, "--card"]) == 0
    alone = capsys.readouterr().out
    assert alone.startswith("# Model card: ")
    assert main([model, "pictures/a.png", "--card"]) == 0
    assert capsys.readouterr().out.startswith(alone)


def test_neither_pictures_nor_the_card(model, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([model])
    assert leaving.value.code == 2
    assert "received no IMAGE" in capsys.readouterr().err
