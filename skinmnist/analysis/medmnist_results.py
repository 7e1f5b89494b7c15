"""Write held-out predictions as MedMNIST result files, which MedMNIST's Evaluator can read and score."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.datasets.files import members, write_atomically
from skinmnist.datasets.medmnist import CLASS_NAMES, is_medmnist, set_name
from skinmnist.experiment.cells import CellResult
from skinmnist.experiment.given_splits import OWN
from skinmnist.experiment.run_folder.folder import REPORT
from skinmnist.experiment.run_folder.record import RunRecord

#: Subfolder of the run folder.
FOLDER = REPORT.series[0].folder


def write_results(record: RunRecord, folder: Path) -> list[Path]:
    """Write one file for each trained cell of a run on a MedMNIST data set, and return the paths.

    Existing result files, whose names contain other scores, are removed. Nothing is written for other tables,
    for splits other than the official one, or for a subset of its pictures.
    """
    info = record.info
    file = Path(info.table.inputs[0].file) if info.table.inputs else Path()
    whole = info.protocol.rows == info.table.rows
    if not (is_medmnist(file) and info.given and info.given.name == OWN and whole):
        return []
    paths = []
    for result in record.results:
        name = result_name(file.stem, result)
        if name is not None:
            path = folder / FOLDER / name
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, result_content(result))
            paths.append(path)
    for path in set(members(folder, REPORT.series[0])) - {*paths}:
        path.unlink()
    return paths


def result_name(stem: str, result: CellResult) -> str | None:
    """Return ``<flag>_test_[AUC]x_[ACC]y@<run>.csv``, or None if MedMNIST's AUC is undefined.

    `stem` is the stem of the data file: the flag alone at 28 x 28, otherwise the flag and the side length.
    """
    auc, accuracy = medmnist_scores(result.labels, result.probabilities)
    if np.isnan(auc):
        return None
    cell = result.cell
    words = (cell.sampler, cell.model, str(cell.repeat))
    run = "-".join(re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in words)
    flag = stem if set_name(stem) in CLASS_NAMES else re.sub(r"[^A-Za-z0-9]+", "-", stem)
    return f"{flag}_test_[AUC]{auc:.3f}_[ACC]{accuracy:.3f}@{run}.csv"


def result_content(result: CellResult) -> bytes:
    """Return the lines of a file: the index of each picture in its split, and its class probabilities."""
    order = np.argsort(result.rows)
    return pd.DataFrame(result.probabilities[order]).to_csv(header=False, lineterminator="\n").encode()


def medmnist_scores(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> tuple[float, float]:
    """Return AUC and accuracy as defined by MedMNIST's Evaluator for data sets with one label per picture.

    For two classes, the AUC is that of the second class, which is predicted if its probability is above one
    half. For more than two classes, it is the mean one-against-rest AUC. It is NaN if a class has no
    pictures.
    """
    from sklearn.metrics import roc_auc_score

    n_classes = probabilities.shape[1]
    codes = range(1, 2) if n_classes == 2 else range(n_classes)
    if len(np.unique(labels)) < n_classes:
        return np.nan, np.nan
    auc = np.mean([roc_auc_score(labels == code, probabilities[:, code]) for code in codes])
    predicted = probabilities[:, 1] > 0.5 if n_classes == 2 else probabilities.argmax(axis=1)
    return float(auc), float((predicted == labels).mean())
