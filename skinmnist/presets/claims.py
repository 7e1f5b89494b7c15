"""The claims of a published system, compared with its scores as published and under the honest protocol.

This module imports no models because a report reads everything from the run folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.datasets.decoding import decode, read_arrays, take_array
from skinmnist.errors import InputError
from skinmnist.experiment.cells import CellResult
from skinmnist.experiment.metrics import mean_scores
from skinmnist.experiment.run_folder.record import read_columns
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.text import one_line

#: Names of the scores that a page may claim.
CLAIMS = ("accuracy", "precision", "recall", "macro_f1", "loss")
CLAIMS_FILE, PUBLISHED_FOLDER = "claims.csv", "published"
ABOUT_FILE, AUGMENTED_FILE = "preset.json", "augmented.npz"
CLAIM_COLUMNS = ("network", "sampler", "metric", "claimed", "as_published", "honest")


@dataclass(frozen=True)
class About:
    """The texts of a preset, the titles of its networks by name, and the protocol of its honest run.

    `page` is the title of the page that describes the published system; it is empty if unknown.
    """

    title: str
    about: str
    claim: str
    less: str
    choices: tuple[str, ...]
    other_data: tuple[str, ...]
    differences: tuple[str, ...]
    networks: Mapping[str, str]
    protocol: Mapping[str, Any]
    page: str = ""


@dataclass(frozen=True, eq=False)
class Claims:
    """The results of a preset in a run folder: a table of `CLAIM_COLUMNS`, an `About`, and pictures.

    The pictures have shape (n, versions, height, width, channels) and type uint8. The first version of each
    picture is the original; the others are augmented.
    """

    scores: pd.DataFrame
    about: dict[str, Any]
    augmented: npt.NDArray[np.uint8] | None


def common(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of the honest run that claims belong to."""
    return {name: protocol[name] for name in ("data", "folds", "split", "seed", "rows")}


def read_claims(folder: Path, info: RunInfo) -> Claims | None:
    """Read the results of `run_preset` in a run folder; None if they are missing or of another protocol."""
    path, published = folder / CLAIMS_FILE, folder / PUBLISHED_FOLDER
    if not path.is_file():
        return None
    try:
        about = decode(About, json.loads((published / ABOUT_FILE).read_text(encoding="utf-8")))
        if about.protocol != common(asdict(info.protocol)):
            return None
        if not about.networks:
            raise ValueError("its preset has no network")
        augmented = None
        if (published / AUGMENTED_FILE).is_file():
            arrays = read_arrays(published / AUGMENTED_FILE)
            augmented = take_array(arrays, "pictures", "u", (None, None, *info.table.shape))
            if augmented.dtype != np.uint8 or not augmented.shape[1]:
                raise ValueError("its pictures are not uint8")
        return Claims(_read_scores(path, about), asdict(about), augmented)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged ({one_line(str(error))}); run the preset again, or delete it"
        ) from None


def _read_scores(path: Path, about: About) -> pd.DataFrame:
    """Read ``claims.csv``, the scores of the networks of a preset, without unknown values."""
    texts, numbers = CLAIM_COLUMNS[:3], CLAIM_COLUMNS[3:]
    frame = read_columns(path, dict.fromkeys(texts, str) | dict.fromkeys(numbers, float))
    named = frame["network"].isin(list(about.networks)) & frame["metric"].isin(CLAIMS)
    if frame.empty or not named.all() or np.isinf(frame[list(numbers)].to_numpy(dtype=float)).any():
        raise ValueError("it is empty, or holds an unknown network or score, or an infinite number")
    return frame


def keras_scores(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> dict[str, float]:
    """Return the scores of `CLAIMS` for probabilities (n, k), computed as on the published pages.

    Precision and recall are micro-averaged at a threshold of 0.5, like the Keras metrics of the same names: a
    picture whose top probability is lower counts for no class. Precision is absent if this applies to every
    picture.
    """
    from sklearn.metrics import f1_score

    own = probabilities[np.arange(len(labels)), labels]
    sure = probabilities > 0.5
    hits = float((own > 0.5).sum())
    found = {
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "recall": hits / len(labels),
        "macro_f1": float(f1_score(labels, probabilities.argmax(axis=1), average="macro", zero_division=0)),
        "loss": float(-np.log(own.clip(1e-7, 1)).mean()),
    }
    if sure.any():
        found["precision"] = hits / float(sure.sum())
    return found


def compare_claims(
    networks: Iterable[str],
    sampler: str,
    claimed: Mapping[str, float],
    published: Iterable[CellResult],
    honest: Iterable[CellResult],
) -> pd.DataFrame:
    """Return the claims and the means over the folds as a table of `CLAIM_COLUMNS`.

    Cells of other samplers are ignored. Unknown values are absent.
    """
    both, names = [list(published), list(honest)], list(networks)
    rows = []
    for network in names:
        # Claims refer to the first network, the one on the page; the other networks are variants of it.
        own = claimed if network == names[0] else {}
        as_published, fair = (_means(cells, network, sampler) for cells in both)
        rows += [
            (network, sampler, metric, own.get(metric), as_published.get(metric), fair.get(metric))
            for metric in CLAIMS
        ]
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS))


def _means(cells: Iterable[CellResult], model: str, sampler: str) -> dict[str, float]:
    found = [
        keras_scores(cell.labels, cell.probabilities)
        for cell in cells
        if (cell.cell.model, cell.cell.sampler) == (model, sampler)
    ]
    return mean_scores(found, CLAIMS)
