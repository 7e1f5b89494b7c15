import json

import numpy as np
import pytest

from skinmnist import load_classifier, make_lesions
from skinmnist.datasets.decoding import decode_members
from skinmnist.train import main


@pytest.fixture
def csv(tmp_path, monkeypatch):
    """A table on disk, and a model folder of the test's own."""
    table = make_lesions(150, size=8, random_state=1)
    path = tmp_path / "small.csv"
    columns = ",".join([*(f"pixel{i:04d}" for i in range(192)), "label"])
    rows = np.column_stack([table.pixels, table.labels])
    np.savetxt(path, rows, fmt="%d", delimiter=",", header=columns, comments="")
    monkeypatch.setenv("SKINMNIST_MODELS", str(tmp_path / "models"))
    return path


def manifest_of(path):
    return json.loads(decode_members(path.read_bytes())["manifest.json"])


def test_a_model_is_saved_where_it_is_looked_for(csv, tmp_path, capsys):
    assert main([str(csv), "--model", "logistic_regression", "--sampler", "RandomOverSampler"]) == 0
    out = tmp_path / "models" / "small-logistic_regression-RandomOverSampler.skm"
    assert f"model: {out}" in capsys.readouterr().out
    manifest = manifest_of(out)
    assert manifest["training"]["rows"] == 150
    assert manifest["training"]["inputs"][0]["file"] == "small.csv"
    assert not manifest["training"]["synthetic"]
    assert manifest["scores"] is None
    assert "CC BY-NC 4.0" in manifest["licence"]
    assert {"python", "skinmnist", "numpy"} <= set(manifest["versions"])
    assert load_classifier(out).title == "Logistic regression"
    assert [file.name for file in out.parent.iterdir()] == [out.name]


def test_scores_that_may_be_claimed_are_printed_and_stored(csv, tmp_path, capsys):
    out = tmp_path / "a" / "lesion.skm"
    assert main([str(csv), "--model", "dummy", "--cv", "--folds", "2", "--jobs", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "Macro-F1" in shown.out
    assert "SPLIT BY PICTURE" in shown.err
    scores = manifest_of(out)["scores"]
    assert scores["protocol"]["folds"] == 2
    assert scores["protocol"]["split"] == "image"
    assert "is meant to hold the right class in 90 of 100 pictures of each class" in shown.out
    assert manifest_of(out)["conformal"]["pictures"] == manifest_of(out)["training"]["rows_per_class"]
    mean, spread = load_classifier(out).manifest.scores["macro_f1"]
    assert 0.1 < mean < 0.15
    assert spread < 0.05


def test_an_ensemble_is_one_file_with_the_scores_of_its_row(csv, tmp_path, capsys):
    out = tmp_path / "both.skm"
    arguments = ["--model", "ensemble", "--members", "logistic_regression", "dummy", "--out", str(out)]
    assert main([str(csv), *arguments, "--cv", "--folds", "2", "--jobs", "1"]) == 0
    assert "none + ensemble: trained on 150 pictures" in capsys.readouterr().out
    content = manifest_of(out)
    assert [one["head"]["kind"] for one in content["answer"]["models"]] == ["linear", "constant"]
    assert len(content["scores"]["metrics"]) > 9
    assert load_classifier(out).title == "Ensemble of logistic_regression, dummy"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--members", "svm", "dummy"], "received members of model 'cnn'"),
        (["--model", "ensemble", "--members", "svm", "svn"], "did you mean 'svm'"),
        (["--model", "ensemble", "--members", "svm"], "received an ensemble of 1; expected 2 to"),
        (["--sampler", "sweep:SMOTE"], "stands for 5 samplers; choose one of them, such as SMOTE"),
        (["--model", "sklearn.naive_bayes:GaussianNB"], "cannot be written to a model file"),
        (["--seed", "-1"], "received seed -1"),
        (["--conformal", ".1"], "received --conformal without --cv, which calibrates the sets"),
        (["--conformal", "90", "--cv"], "expected a number above 0 and at most 0.5"),
        (["--out", "."], ". is a folder"),
        (
            ["--model", "svm", "--sampler", "focal_loss"],
            "focal_loss with svm, which cannot take it",
        ),
    ],
)
def test_bad_usage_is_refused_before_training(arguments, message, csv, tmp_path, capsys):
    assert main([str(csv), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("models/*"))


def test_a_synthetic_table_is_said_loudly_and_stored(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SKINMNIST_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("skinmnist.console.common.SYNTHETIC_ROWS", 60)
    assert main(["--model", "dummy", "--out", "x.skm"]) == 0
    shown = capsys.readouterr()
    assert "SYNTHETIC TABLE" in shown.err
    assert manifest_of(tmp_path / "x.skm")["training"]["synthetic"]


def test_a_table_too_small_for_a_model_file_is_refused_before_validating(csv, tmp_path, capsys):
    few = tmp_path / "few.csv"
    few.write_text("\n".join(csv.read_text().splitlines()[:16]) + "\n")
    assert main([str(few), "--model", "dummy", "--cv", "--folds", "2"]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "Macro-F1" not in shown.out


def test_a_folder_that_cannot_be_written_is_refused_before_training(csv, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda folder, how: folder != tmp_path / "locked")
    assert main([str(csv), "--model", "dummy", "--out", str(tmp_path / "locked" / "x.skm")]) == 2
    message = f"the folder {tmp_path / 'locked'} is not writable; name another file"
    assert message in capsys.readouterr().err
