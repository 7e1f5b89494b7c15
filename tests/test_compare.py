"""The command of the main job: what it accepts, prints, writes, and how it leaves."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from skinmnist import facts
from skinmnist.compare import main

FILES = {
    "report.html",
    "scores.csv",
    "predictions.csv.gz",
    "timings.csv",
    "run.json",
    "run.log",
    "cells",
    "pictures.npz",
    "lesions.npz",
    "mistakes.npz",
    "comparisons.csv",
    "intervals.csv",
    "difference_intervals.csv",
    "derived_scores.csv",
    "subgroups.csv",
}
MOODY = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
class Moody(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        raise RuntimeError("no <b>luck</b>")
    def predict(self, X): ...
    def predict_proba(self, X): ...
"""


@pytest.fixture
def csv(lesions, tmp_path, monkeypatch):
    """A table of 8x8 pictures with its metadata, in a folder of its own; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKINMNIST_DATA", raising=False)
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "tables"
    folder.mkdir()
    header = ",".join([*(f"pixel{i:04d}" for i in range(lesions.pixels.shape[1])), "label"])
    rows = np.column_stack([lesions.pixels, lesions.labels])
    path = folder / "small.csv"
    np.savetxt(path, rows, fmt="%d", delimiter=",", header=header, comments="")
    dx = np.array(facts.CLASS_NAMES)[lesions.labels]
    lines = [f"{a},{b},{c}" for a, b, c in zip(lesions.lesion_ids, lesions.image_ids, dx, strict=True)]
    (folder / "small_metadata.csv").write_text("\n".join(["lesion_id,image_id,dx", *lines]) + "\n")
    return path


def test_the_main_job(csv, tmp_path, capsys):
    assert main([str(csv), "--models", "dummy", "logistic_regression", "--folds", "3"]) == 0
    assert {path.name for path in (tmp_path / "runs" / "small-0").iterdir()} == FILES
    printed = capsys.readouterr()
    assert "always nv" in printed.out
    assert "RandomOverSampler on descriptors" in printed.out
    assert "not a medical device" in printed.out
    assert "report.html" in printed.out
    assert "18 cells" in printed.err
    assert "SYNTHETIC" not in printed.err


def test_verbose_prints_what_the_log_gets(csv, tmp_path, capsys):
    arguments = [str(csv), "--models", "dummy", "--samplers", "none", "--folds", "2", "--cell-seconds", "300"]
    assert main([*arguments, "--cell-memory", "4000", "--verbose"]) == 0
    printed = capsys.readouterr().err
    log = tmp_path / "runs" / "small-0" / "run.log"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == [
        "run started",
        "cells found",
        "cell done",
        "cell done",
        "run ended",
    ]
    assert printed.count("cell done: sampler=none model=dummy repeat=0 fold=") == 2
    assert events[-1]["done"] == 2


def test_no_table_at_all_is_said_loudly(csv, tmp_path, capsys):
    assert main(["--models", "dummy", "--samplers", "none"]) == 0
    assert "SYNTHETIC TABLE" in capsys.readouterr().err
    assert "drawn by skinmnist" in (tmp_path / "runs" / "synthetic-0" / "report.html").read_text()


def test_a_synthetic_table_of_any_size_is_an_option(csv, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SKINMNIST_DATA", str(csv))
    assert main(["--synthetic", "90", "--models", "dummy", "--samplers", "none", "--split", "holdout"]) == 0
    assert "SYNTHETIC TABLE" in capsys.readouterr().err
    assert (tmp_path / "runs" / "synthetic-90-0" / "report.html").is_file()


def test_a_table_is_found_where_the_environment_says(csv, tmp_path, capsys, monkeypatch):
    csv.with_name("small_metadata.csv").rename(csv.with_name("HAM10000_metadata.csv"))
    csv.rename(csv.with_name("hmnist_8_8_RGB.csv"))
    monkeypatch.setenv("SKINMNIST_DATA", str(csv.parent))
    assert main(["--models", "dummy", "--samplers", "none", "--folds", "2"]) == 0
    assert "hmnist_8_8_RGB: 360 pictures" in capsys.readouterr().err


def test_clinical_columns_are_an_option(csv, tmp_path, capsys, lesions):
    arguments = [str(csv), "--models", "dummy", "--samplers", "none", "--folds", "2", "--clinical"]
    assert main([*arguments, "age"]) == 2
    assert "came with no clinical columns" in capsys.readouterr().err
    metadata = csv.with_name("small_metadata.csv")
    lines = metadata.read_text().splitlines()
    known = ["age,sex", *(f"{a},{b}" for a, b in zip(*list(lesions.clinical.values())[:2], strict=True))]
    metadata.write_text("".join(f"{a},{b}\n" for a, b in zip(lines, known, strict=True)))
    assert main([*arguments, "age", "localization"]) == 2
    assert "'localization'; expected some of age, sex" in capsys.readouterr().err
    assert main([*arguments, "sex", "age"]) == 0
    printed = capsys.readouterr()
    assert "dummy+clinical" in printed.out
    assert "4 cells" in printed.err
    page = (tmp_path / "runs" / "small-0" / "report.html").read_text()
    assert "Class frequencies only + age, sex" in page
    assert "--clinical sex age" in page


def test_a_quick_look_is_marked_as_no_result(csv, capsys, tmp_path):
    assert main([str(csv), "--quick", "--models", "dummy", "--samplers", "none"]) == 0
    assert "QUICK LOOK" in capsys.readouterr().err
    assert "no result" in (tmp_path / "runs" / "small-0" / "report.html").read_text()


def test_without_lesions_the_split_is_by_image_and_the_report_warns(csv, capsys, tmp_path):
    csv.with_name("small_metadata.csv").unlink()
    assert main([str(csv), "--models", "dummy", "--samplers", "none", "--folds", "3", "--out", "r"]) == 0
    assert "split by image" in (tmp_path / "r" / "report.html").read_text().lower()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.csv"], "nowhere.csv"),
        (["CSV", "--samplers", "SMOT"], "received sampler 'SMOT'"),
        (["CSV", "--models", "swm"], "received model 'swm'"),
        (["CSV", "--models", "nowhere:Model"], "cannot be made"),
        (["CSV", "--folds", "1"], "received 1 folds"),
        (["CSV", "--folds", "0"], "received 0 folds"),
        (["CSV", "--folds", "90"], "fewer than the 90 folds"),
        (["CSV", "--jobs", "0"], "received 0 jobs"),
        (["CSV", "--seed", "-3"], "received seed -3"),
        (["CSV", "--cell-seconds", "0"], "received a limit of 0 seconds"),
        (["CSV", "--cell-memory", "-5"], "received a limit of -5 MB"),
        (["CSV", "--repeats", "0"], "received 0 repeats"),
        (["CSV", "--clinical", "dx_type"], "tells how the diagnosis was made and so is a leak"),
        (["CSV", "--metadata", "nowhere.csv"], "nowhere.csv"),
        (["--metadata", "CSV"], "no table was named or found"),
        (["CSV", "--synthetic", "90"], "leave one of them out"),
        (["--synthetic", "9"], "n_samples received 9"),
    ],
)
def test_bad_input_is_one_sentence(csv, capsys, arguments, sentence):
    assert main([str(csv) if argument == "CSV" else argument for argument in arguments]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("skinmnist: ")
    assert sentence in complaint


@pytest.mark.parametrize(
    "arguments", [["--split", "patient"], ["--sampler", "x", "--bogus"], ["--folds", "many"]]
)
def test_bad_usage_leaves_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2


def test_a_cluster_needs_its_extra(csv, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.delitem(sys.modules, "skinmnist.experiment.execution.dask", raising=False)
    assert main([str(csv), "--models", "dummy", "--folds", "2", "--dask", "local"]) == 2
    assert "received --dask, but dask is not installed" in capsys.readouterr().err


def test_failed_cells_are_named_and_the_report_is_there(csv, capsys, tmp_path, monkeypatch):
    (tmp_path / "moods.py").write_text(MOODY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    arguments = [
        str(csv),
        "--models",
        "dummy",
        "moods:Moody",
        "--samplers",
        "none",
        "--folds",
        "2",
        "--out",
        "r",
    ]
    assert main(arguments) == 1
    assert "no <b>luck</b>" in capsys.readouterr().out
    page = (tmp_path / "r" / "report.html").read_text()
    assert "no &lt;b&gt;luck&lt;/b&gt;" in page
    assert "<b>luck" not in page


def test_interrupted_by_the_keyboard_and_resumed(csv, tmp_path):
    arguments = ["--models", "random_forest", "logistic_regression", "--folds", "5", "--jobs", "2"]
    command = [sys.executable, "-m", "skinmnist.compare", str(csv), *arguments]
    assert subprocess.run([*command, "--out", "whole"], capture_output=True).returncode == 0
    running = subprocess.Popen(
        [*command, "--out", "broken"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background has told them to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    cells = tmp_path / "broken" / "cells"
    while running.poll() is None and not (cells.is_dir() and any(cells.glob("*.cell"))):
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    printed, _ = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "Traceback" not in printed
    assert "To go on: python -m skinmnist.compare" in printed
    assert "interrupted" in (tmp_path / "broken" / "report.html").read_text().lower()
    assert {path.name for path in (tmp_path / "broken").iterdir()} == FILES
    assert 1 <= len(list(cells.glob("*.cell"))) < 30
    resumed = subprocess.run([*command, "--out", "broken"], capture_output=True, text=True)
    assert resumed.returncode == 0
    assert "of them stored before" in resumed.stderr
    for name, read in (("scores.csv", bytes), ("predictions.csv.gz", gzip.decompress)):
        whole, again = (read((tmp_path / run / name).read_bytes()) for run in ("whole", "broken"))
        assert whole == again


def test_interrupted_before_it_began_it_leaves_the_folder_of_another_run_alone(csv, tmp_path, monkeypatch):
    arguments = [str(csv), "--models", "dummy", "--samplers", "none", "--folds", "2", "--out", "theirs"]
    assert main(arguments) == 0
    page = tmp_path / "theirs" / "report.html"
    page.write_text("theirs")

    def wait(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("skinmnist.experiment.comparison.run_comparison", wait)
    assert main(arguments) == 130
    assert page.read_text() == "theirs"


def test_leaks_are_shown_apart(csv, tmp_path, capsys):
    arguments = [str(csv), "--models", "dummy", "--samplers", "none", "--folds", "2"]
    leaks = ["--demonstrate-leaks", "--leak-models", "logistic_regression"]
    assert main([*arguments, *leaks]) == 0
    run = tmp_path / "runs" / "small-0"
    assert {path.name for path in run.iterdir()} == FILES | {"leaks", "leaks.csv"}
    assert (run / "leaks.csv").read_text().startswith("leak,sampler,model,metric,leaky,honest\n")
    assert "logistic_regression" not in (run / "scores.csv").read_text()
    page = (run / "report.html").read_text()
    assert page.count('<section id="leaks">') == 1
    printed = capsys.readouterr()
    assert "wrong on purpose" in printed.err
    assert "SKM005 warning: Always answering nv" in printed.out
    assert main([*arguments, "--fresh"]) == 0
    assert "leaks.csv" not in {path.name for path in run.iterdir()}


@pytest.mark.parametrize(
    ("leaks", "said"),
    [
        (["--leak-models", "svm"], "--leak-models without --demonstrate-leaks"),
        (["--demonstrate-leaks", "--leak-models", "smv"], "received model 'smv'"),
    ],
)
def test_bad_leaks_are_refused_before_anything_runs(csv, tmp_path, capsys, leaks, said):
    assert main([str(csv), "--models", "dummy", *leaks]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
