"""Tables of other classes, sizes and colours on their way from pictures to a report, and to an answer."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinmnist import build, compare, predict, train

#: Classes, pictures of each, size and mode of the table, a model that is quick on it, and the samplers.
TABLES = {
    "two classes, grey, 16x16": (2, 12, "16x16", "L", "logistic_regression", ["none", "SMOTE"]),
    "twenty classes, RGB, 16x16": (20, 6, "16x16", "RGB", "cnn_tiny", ["none"]),
    "two classes, RGB, 75x100": (2, 12, "75x100", "RGB", "logistic_regression", ["none"]),
    "twenty classes, grey, 75x100": (20, 6, "75x100", "L", "logistic_regression", ["none", "SMOTE"]),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a painter of a folder per class, whose pictures grow brighter from class to class."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))

    def paint(n_classes, n_pictures):
        random = np.random.default_rng(0)
        for code in range(n_classes):
            for number in range(n_pictures):
                path = tmp_path / "lesions" / f"kind {code:02d}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                level = 20 + 200 * code // n_classes
                pixels = random.integers(level, level + 15, (30, 40, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(path)
        return "lesions"

    return paint


@pytest.mark.usefixtures("bare_figures")
@pytest.mark.parametrize(
    ("n_classes", "n_pictures", "size", "mode", "model", "samplers"), TABLES.values(), ids=TABLES
)
def test_from_pictures_to_a_report_and_to_answers(
    n_classes, n_pictures, size, mode, model, samplers, folder, tmp_path, capsys
):
    pictures = folder(n_classes, n_pictures)
    assert build.main([pictures, "--out", "t.csv", "--size", size, "--mode", mode, "--jobs", "1"]) == 0
    # The lesions are known after all, two pictures of each; and something of the patients.
    metadata = pd.read_csv("t_metadata.csv", keep_default_na=False)
    metadata["lesion_id"] = [f"L{row // 2}" for row in range(len(metadata))]
    metadata["sex"] = ["male", "female", "unknown"] * (len(metadata) // 3)
    metadata.to_csv("t_metadata.csv", index=False)
    arguments = ["--models", "dummy", model, "--samplers", *samplers, "--folds", "2", "--jobs", "1"]
    assert compare.main(["t.csv", *arguments, "--out", "run"]) == 0
    assert "SPLIT BY PICTURE" not in capsys.readouterr().err
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    height, width = map(int, size.split("x"))
    assert info["table"]["shape"] == [height, width, 3 if mode == "RGB" else 1]
    names = [f"kind {code:02d}" for code in range(n_classes)]
    assert info["table"]["class_names"] == names
    predictions = pd.read_csv(tmp_path / "run" / "predictions.csv.gz")
    assert [column for column in predictions if column.startswith("p_")] == [f"p_{name}" for name in names]
    assert len(predictions) == 2 * len(samplers) * n_classes * n_pictures
    groups = pd.read_csv(tmp_path / "run" / "subgroups.csv")
    assert set(groups["group"]) == {"female", "male", "unknown"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert names[-1] in page
    assert "For whom does it work?" in page
    if model == "logistic_regression" and n_classes == 2:
        scores = pd.read_csv(tmp_path / "run" / "scores.csv")
        own = scores[(scores["model"] == model) & (scores["metric"] == "accuracy")]
        assert own["value"].min() > 0.9
    capsys.readouterr()
    assert train.main(["t.csv", "--model", model, "--out", "kept.skm"]) == 0
    capsys.readouterr()
    asked = ["lesions/kind 00/0.png", f"lesions/{names[-1]}/0.png"]
    assert predict.main(["kept.skm", *asked, "--json", "--top", "2"]) == 0
    first, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert list(first["probabilities"]) == list(last["probabilities"]) == names
    # The pictures grow brighter from class to class, and these are those that it was trained on.
    assert last["probabilities"][names[-1]] > first["probabilities"][names[-1]]
