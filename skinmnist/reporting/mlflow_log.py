"""Logging of runs to MLflow; requires the ``mlflow`` extra."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from skinmnist.errors import InputError
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.names import pair_name
from skinmnist.text import one_line, printable

#: MLflow's limit on the length of a parameter.
_LONGEST = 500


def log_to_mlflow(record: RunRecord, page: Path, uri: str) -> str:
    """Log parameters, scores and the page of a run to an MLflow tracking server or store.

    The comparison becomes one MLflow run with its parameters and the page. Each pair becomes a nested run
    with the means and standard deviations of its scores over the folds.

    Parameters
    ----------
    record : RunRecord
    page : path
    uri : str
        An MLflow tracking URI, such as ``"http://localhost:5000"`` or ``"file:mlruns"``.

    Returns
    -------
    str
        The id of the MLflow run.

    Raises
    ------
    InputError
        If the extra is not installed, or MLflow cannot log to `uri`.
    """
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise InputError("--mlflow needs MLflow; install it with `pip install mlflow-skinny`") from None
    try:
        return _log(MlflowClient(tracking_uri=uri), record, page)
    except (MlflowException, OSError) as error:
        raise InputError(
            f"MLflow cannot log to {printable(uri)} ({one_line(error)}); name a tracking server or a store, "
            "as in --mlflow http://localhost:5000"
        ) from None


def _log(client: Any, record: RunRecord, page: Path) -> str:
    name = "skinmnist"
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    title = f"{printable(record.info.table.name)}, seed {record.info.seed}"
    parent = client.create_run(experiment, run_name=title).info.run_id
    for key, value in parameters(record.info).items():
        client.log_param(parent, key, value)
    for (sampler, model), scores in pair_scores(record).items():
        tags = {"mlflow.parentRunId": parent}
        run = client.create_run(experiment, tags=tags, run_name=pair_name((sampler, model))).info.run_id
        client.log_param(run, "sampler", sampler)
        client.log_param(run, "model", model)
        for metric, score in scores.items():
            client.log_metric(run, metric, score)
        client.set_terminated(run)
    client.log_artifact(parent, str(page))
    client.set_terminated(parent)
    return str(parent)


def parameters(info: RunInfo) -> dict[str, str]:
    """Return the configuration of a run as MLflow parameters."""
    protocol = info.protocol
    values = {
        "table": info.table.name,
        "data": protocol.data,
        "pictures": protocol.rows,
        "samplers": ", ".join(info.grid.samplers),
        "models": ", ".join(info.grid.models),
        "split": protocol.split,
        "folds": protocol.folds,
        "repeats": info.repeats,
        "seed": info.seed,
        "quick": info.quick,
        "skinmnist": info.skinmnist,
        "command": info.command,
    }
    return {name: printable(value, _LONGEST) for name, value in values.items()}


def pair_scores(record: RunRecord) -> dict[tuple[str, str], dict[str, float]]:
    """Return the mean and standard deviation of each score of each pair, under names that MLflow accepts."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    grouped = record.scores.groupby(["sampler", "model", "metric"], sort=False)["value"]
    for row in grouped.agg(["mean", "std"]).reset_index().to_dict("records"):
        name = re.sub(r"[^\w.\- :/]", "_", str(row["metric"]), flags=re.ASCII)
        values = {name: float(row["mean"]), f"{name}_sd": float(row["std"])}
        of_pair = found.setdefault((str(row["sampler"]), str(row["model"])), {})
        of_pair.update({key: value for key, value in values.items() if np.isfinite(value)})
    return found
