"""Everything of a report as files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from skinmnist import make_lesions, run_comparison
from skinmnist.errors import InputError
from skinmnist.report import main
from skinmnist.reporting import export
from skinmnist.reporting.export import log_to_mlflow
from skinmnist.reporting.page import render_page
from skinmnist.reporting.tables import read_page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    table = make_lesions(90, size=8)
    folder = tmp_path_factory.mktemp("exported") / "run"
    return run_comparison(table, ["none", "SMOTE"], ["dummy"], folds=2, jobs=1, out=folder)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Path:
    folder, pages = tmp_path_factory.mktemp("paper") / "a", []

    def remembered(analysis) -> str:
        pages.append(render_page(analysis))
        return pages[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "render_page", remembered)
        export.export_report(run, folder)
    folder.with_name("page.html").write_text(pages[0], encoding="utf-8")
    return folder


def test_every_table_and_figure_of_the_page_is_there(exported: Path) -> None:
    tables, _ = read_page(exported.with_name("page.html").read_text(encoding="utf-8"))
    for suffix, texts in (("csv", "to_csv"), ("md", "to_markdown"), ("tex", "to_latex")):
        found = {path.stem: path.read_text("utf-8") for path in (exported / "tables").glob(f"*.{suffix}")}
        assert found == {table.name: getattr(table, texts)() for table in tables}
    stems = [{path.stem for path in (exported / "figures").glob(f"*.{kind}")} for kind in ("svg", "pdf")]
    assert stems[0] == stems[1]
    assert {"tradeoff", "leaderboard", "confusion", "confusion-2", "samplers"} <= stems[0]
    assert not {name for name in stems[0] if name.startswith("table")}


def test_figures_stand_alone(exported: Path) -> None:
    for path in (exported / "figures").iterdir():
        if path.suffix == ".pdf":
            assert path.read_bytes().startswith(b"%PDF")
        else:
            assert ET.fromstring(path.read_text("utf-8")).tag.endswith("svg")
            assert "var(--" not in path.read_text("utf-8")


def test_an_earlier_export_is_replaced_and_nothing_of_the_users(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_contents", lambda _: [("tables/a.csv", b"1"), ("methods.md", b"2")])
    (tmp_path / "methods.md").write_text("mine")
    with pytest.raises(InputError, match=r"holds methods\.md, which would be replaced"):
        export.export_report(run, tmp_path)
    (tmp_path / "methods.md").unlink()
    export.export_report(run, tmp_path)
    (tmp_path / "tables" / "old.csv").write_text("a\n")
    (tmp_path / "mine.txt").write_text("mine")
    export.export_report(run, tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"tables/a.csv", "methods.md", "mine.txt", ".skinmnist-export"}


def test_the_command_exports_and_logs(run, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr("skinmnist.reporting.page.write_report", lambda *_, **__: tmp_path / "page.html")
    monkeypatch.setattr(export, "export_report", lambda _, folder: folder)
    monkeypatch.setattr("skinmnist.reporting.export.log_to_mlflow", lambda *given: given[2])
    assert main([str(run.folder), "--export", "paper", "--mlflow", "file:runs"]) == 0
    assert capsys.readouterr().out.split("\n")[1:] == ["paper", "MLflow run file:runs", ""]


def test_the_supplement_compiles(exported: Path, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("needs LaTeX (pdflatex), which is not installed")
    folder = shutil.copytree(exported, tmp_path / "paper")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "supplement.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    if shutil.which("bibtex") is not None:
        done = subprocess.run(
            ["bibtex", "supplement"], cwd=folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout


def test_side_by_side_takes_no_export(run, capsys) -> None:
    assert main([str(run.folder), str(run.folder), "--export", "x"]) == 2
    assert (
        "received 2 runs; expected one with --export or --mlflow, so name a single run"
        in capsys.readouterr().err
    )


class Client:
    """As much of ``mlflow.tracking.MlflowClient`` as is used, with its signatures."""

    made: Client

    def __init__(self, tracking_uri: str) -> None:
        self.uri, self.runs, self.artifacts = tracking_uri, {}, []
        Client.made = self

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return name

    def create_run(self, experiment_id: str, tags: Any = None, run_name: str | None = None) -> Any:
        key = str(len(self.runs))
        self.runs[key] = {"name": run_name, "tags": tags, "params": {}, "metrics": {}, "ended": False}
        return SimpleNamespace(info=SimpleNamespace(run_id=key))

    def log_param(self, run_id: str, key: str, value: str) -> None:
        self.runs[run_id]["params"][key] = value

    def log_metric(self, run_id: str, key: str, value: float) -> None:
        self.runs[run_id]["metrics"][key] = value

    def log_artifact(self, run_id: str, local_path: str) -> None:
        self.artifacts.append((run_id, local_path))

    def set_terminated(self, run_id: str) -> None:
        self.runs[run_id]["ended"] = True


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    tracking, exceptions = ModuleType("mlflow.tracking"), ModuleType("mlflow.exceptions")
    tracking.MlflowClient = Client
    exceptions.MlflowException = type("MlflowException", (Exception,), {})
    for module in (ModuleType("mlflow"), tracking, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_parameters_scores_and_page_are_logged(mlflow, record, tmp_path: Path) -> None:
    key = log_to_mlflow(record, tmp_path / "report.html", "file:runs")
    client = Client.made
    assert client.uri == "file:runs"
    assert client.artifacts == [(key, str(tmp_path / "report.html"))]
    assert client.runs[key]["params"]["seed"] == str(record.info.seed)
    pairs = {run["name"]: run for run in client.runs.values() if run["tags"]}
    assert len(pairs) == len(client.runs) - 1 == 9
    scores = record.scores
    own = scores[
        (scores["sampler"] == "SMOTE") & (scores["model"] == "svm") & (scores["metric"] == "macro_f1")
    ]
    assert pairs["SMOTE + svm"]["metrics"]["macro_f1"] == pytest.approx(own["value"].mean())
    assert pairs["SMOTE + svm"]["metrics"]["macro_f1_sd"] == pytest.approx(own["value"].std())
    assert pairs["SMOTE + svm"]["tags"] == {"mlflow.parentRunId": key}
    assert all(run["ended"] for run in client.runs.values())


def test_a_missing_extra_is_one_sentence(record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(InputError, match="install it with `pip install mlflow-skinny`") as caught:
        log_to_mlflow(record, Path("report.html"), "file:runs")
    assert "\n" not in str(caught.value)


def test_a_store_that_refuses_is_one_sentence(mlflow, record, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = sys.modules["mlflow.exceptions"].MlflowException("no\nserver")

    def refuse(self: Client, name: str) -> None:
        raise refused

    monkeypatch.setattr(Client, "get_experiment_by_name", refuse)
    with pytest.raises(InputError, match=r"MLflow cannot log to http://nowhere \(no server\)"):
        log_to_mlflow(record, Path("report.html"), "http://nowhere")
