"""The command that builds tables: what it accepts, prints, writes, and how it leaves."""

import numpy as np
import pytest
from PIL import Image

from skinmnist import compare
from skinmnist.build import main
from skinmnist.datasets.hmnist import load_hmnist


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "moles" / ("smooth", "rough edge")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (15, 20, 3)).astype(np.uint8)).save(path)
    return tmp_path / "moles"


@pytest.mark.usefixtures("bare_figures")
def test_from_a_folder_to_a_report(folder, tmp_path, capsys):
    assert main(["moles", "--out", "new/moles.csv", "--size", "6x8", "--mode", "L", "--jobs", "1"]) == 0
    printed = capsys.readouterr()
    assert "moles.csv: 40 pictures, 6 x 8 x 1" in printed.out
    assert "rough edge 20, smooth 20" in printed.out
    assert "python -m skinmnist.compare new/moles.csv" in printed.out
    assert "40 pictures of 2 classes" in printed.err
    assert load_hmnist("new/moles.csv").shape == (6, 8, 1)
    arguments = ["--models", "dummy", "--samplers", "none", "--folds", "2", "--jobs", "1"]
    assert compare.main(["new/moles.csv", *arguments]) == 0
    assert "SPLIT BY PICTURE" in capsys.readouterr().err
    assert "rough edge" in (tmp_path / "runs" / "moles-0" / "report.html").read_text()


def test_the_four_tables_in_one_call(folder, tmp_path, capsys):
    assert main(["moles", "--kaggle", "data", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.count("40 pictures, ") == 4
    assert load_hmnist("data/hmnist_28_28_L.csv").shape == (28, 28, 1)


def test_bad_pictures_are_listed(folder, capsys):
    (folder / "smooth" / "0.jpg").write_bytes(b"nothing")
    assert main(["moles", "--out", "t.csv", "--jobs", "1"]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("skinmnist: 1 of the pictures cannot be read: moles/smooth/0.jpg")
    assert main(["moles", "--out", "t.csv", "--jobs", "1", "--skip-bad"]) == 0
    assert "skipped: moles/smooth/0.jpg: received a file that begins with" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "--out", "t.csv"], "received nowhere, which is not a folder"),
        (["moles", "--out", "t"], "received --out t; expected the name of a CSV file"),
        (["moles", "--out", "t.csv", "--size", "28"], "received --size '28'"),
        (["moles", "--out", "t.csv", "--size", "0x8"], "expected height x width of 1 to 1024"),
        (["moles", "--out", "t.csv", "--size", "8x2000"], "such as 75x100"),
        (["moles", "--out", "t.csv", "--jobs", "0"], "received 0 jobs"),
        (["moles", "--out", "t.csv", "--metadata", "none.csv"], "none.csv does not exist"),
        (["moles", "--kaggle", "d", "--mode", "L"], "received --kaggle with --size or --mode"),
    ],
)
def test_bad_input_is_one_sentence(folder, arguments, sentence, capsys):
    assert main(arguments) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("skinmnist: ")
    assert sentence in complaint


@pytest.mark.parametrize(
    "arguments", [["moles"], ["moles", "--out", "t.csv", "--kaggle", "d"], ["--out", "t"]]
)
def test_bad_usage_leaves_with_2(arguments):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
