"""Logging to MLflow, whose client is a fake: the extra is not in the tests' environment."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from skinmnist.errors import InputError
from skinmnist.reporting.mlflow_log import log_to_mlflow


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
