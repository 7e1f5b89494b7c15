"""Runs that nobody trained: plausible cells, written to a folder and read back as any other run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from described import described

from skinmnist.datasets.decoding import decode, encode
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell, CellResult, Examples, Timing
from skinmnist.experiment.run_folder.record import (
    CELLS_FOLDER,
    LESIONS_FILE,
    RunRecord,
    read_run,
    write_info,
    write_pictures,
)
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.experiment.run_folder.store import CellStore, Provenance

HAM_NAMES = ["akiec", "bcc", "bkl", "df", "nv", "vasc", "mel"]
HAM_SHARES = [0.033, 0.051, 0.110, 0.012, 0.669, 0.014, 0.111]
MODELS = {
    "svm": {"title": "Support vector machine (RBF)", "space": "components"},
    "random_forest": {"title": "Random forest", "space": "components"},
    "cnn": {"title": "Convolutional network", "space": "pixels"},
}
SAMPLERS = ["none", "RandomOverSampler", "SMOTE"]


def make_cell(
    cell: Cell,
    labels: np.ndarray,
    rows: np.ndarray,
    counts: np.ndarray,
    shape: tuple[int, int, int],
    networks: bool = True,
    skill: float = 1.2,
) -> CellResult:
    """Invent the held-out answers of one cell."""
    rng = np.random.default_rng([*f"{cell.sampler} {cell.model}".encode(), cell.repeat, cell.fold])
    n_classes = len(counts)
    logits = rng.normal(size=(len(labels), n_classes)) + skill * np.eye(n_classes)[labels]
    logits += (1.0 if cell.sampler == "none" else 0.6) * np.log(counts / counts.sum())
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    balanced = counts if cell.sampler == "none" else np.full(n_classes, counts.max())
    history, examples = {}, None
    if cell.model.startswith("cnn") and networks:
        step = np.arange(1, 41) * 10.0
        history = {
            "step": step,
            "loss": 0.5 + 1.5 * np.exp(-step / 150) + rng.normal(0, 0.02, 40),
            "accuracy": 0.8 - 0.4 * np.exp(-step / 150),
            "learning_rate": np.linspace(1e-3, 0, 40),
        }
        if cell.sampler == "SMOTE":
            size = int(np.prod(shape))
            parents = rng.integers(0, 256, (6, size), dtype=np.uint8)
            neighbours = rng.integers(0, 256, (6, size), dtype=np.uint8)
            children = ((parents.astype(int) + neighbours) // 2).astype(np.uint8)
            examples = Examples(parents, neighbours, children, np.arange(6) % n_classes)
    smote = cell.sampler == "SMOTE" and cell.fold < 2
    return CellResult(
        cell=cell,
        rows=rows.astype(np.int64),
        labels=labels.astype(np.int64),
        probabilities=probabilities,
        timing=Timing(int(counts.sum()), int(balanced.sum()), 0.01, 1.5 + cell.fold, 0.25, 210.0),
        counts_before=counts.astype(float),
        counts_after=balanced.astype(float),
        natural_mix=counts / counts.sum(),
        training_mix=balanced / balanced.sum(),
        notes=("SMOTE: k_neighbors lowered from 5 to 4, because the smallest class has 5 training rows",)
        if smote
        else (),
        history=history,
        examples=examples,
    )


def write_fake_run(
    folder: Path,
    class_names: list[str] | None = None,
    shares: list[float] | None = None,
    samplers: list[str] | None = None,
    models: dict[str, dict[str, str]] | None = None,
    n_rows: int = 600,
    folds: int = 5,
    repeats: int = 1,
    shape: tuple[int, int, int] = (28, 28, 3),
    finished: Callable[[Cell], bool] = lambda cell: True,
    status: str = "failed",
    change: dict[str, Any] | None = None,
) -> Path:
    """Write a run folder; cells that are not `finished` get `status`; `change` replaces keys of run.json."""
    class_names = class_names or HAM_NAMES
    samplers, models = samplers or SAMPLERS, models or MODELS
    k = len(class_names)
    shares = shares or (HAM_SHARES if k == len(HAM_SHARES) else list(np.ones(k) / k))
    rng = np.random.default_rng(7)
    labels = np.concatenate(
        [np.arange(k).repeat(folds), rng.choice(k, n_rows - k * folds, p=np.divide(shares, sum(shares)))]
    )
    fold_of = np.stack([rng.permuted(np.arange(n_rows) % folds) for _ in range(repeats)])
    fold_of[:, : k * folds] = np.tile(np.arange(folds), k)

    folder.mkdir(parents=True, exist_ok=True)
    table = PixelTable(np.zeros((n_rows, int(np.prod(shape))), np.uint8), labels, tuple(class_names), shape)
    provenance = Provenance.of_table("fake", {}, table, fold_of)
    store = CellStore(folder / CELLS_FOLDER, provenance)
    entries = []
    for sampler in samplers:
        for model in models:
            for repeat in range(repeats):
                for fold in range(folds):
                    cell = Cell(sampler, model, repeat, fold)
                    entry: dict[str, Any] = cell._asdict()
                    if finished(cell):
                        held_out = np.flatnonzero(fold_of[repeat] == fold)
                        counts = np.bincount(labels[fold_of[repeat] != fold], minlength=k)
                        result = make_cell(cell, labels[held_out], held_out, counts, shape)
                        store.save(result)
                        entry |= {"status": "done", "file": store.path(cell).name}
                    elif status == "failed":
                        entry |= {"status": "failed", "reason": "the sampler found <no> neighbours"}
                    else:
                        entry |= {"status": status}
                    entries.append(entry)
    rows_per_class = np.bincount(labels, minlength=k)
    info = described(
        {
            "protocol": {"folds": folds, "rows": n_rows},
            "repeats": repeats,
            "held_out": encode(provenance.held_out),
            "table": {
                "rows": n_rows,
                "shape": list(shape),
                "class_names": class_names,
                "class_titles": {"mel": "Melanoma", "nv": "Melanocytic nevus"},
                "rows_per_class": rows_per_class.tolist(),
                "lesions_per_class": np.ceil(rows_per_class * 0.75).astype(int).tolist(),
                "lesions": int(np.ceil(rows_per_class * 0.75).sum()),
                "inputs": [{"file": "hmnist_28_28_RGB.csv", "sha256": "cd" * 32}],
            },
            "grid": {"samplers": samplers, "models": models},
            "notes": ["class_weight with knn is not planned: the model takes no weights"],
            "cells": entries,
            "versions": {"python": "3.11.7", "numpy": "2.2.0"},
            "hardware": {"cpu": "Some CPU", "cores": 2, "memory_gb": 23.4, "system": "Linux"},
            "started": "2025-01-01T12:00:00+00:00",
            "wall_seconds": 512.3,
            "peak_memory_mb": 2310.0,
            "memory_measure": "summed PSS",
            "interrupted": False,
        }
    )
    for key, value in (change or {}).items():
        info[key] = info[key] | value if isinstance(value, dict) else value
    info["seed"] = info["protocol"]["seed"]
    write_info(folder, decode(RunInfo, info))
    of_class = np.arange(k).repeat(12)
    pictures = rng.integers(0, 256, (len(of_class), *shape), dtype=np.uint8)
    write_pictures(folder, pictures, of_class.astype(np.int64))
    np.savez(folder / LESIONS_FILE, codes=np.arange(n_rows) * 3 // 4)
    return folder


@pytest.fixture(scope="session")
def fake_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the default grid, as a folder."""
    return write_fake_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def record(fake_run: Path) -> RunRecord:
    return read_run(fake_run)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunRecord]:
    """Write a run with the given oddities and read it back; each into a folder of its own."""
    numbers = count()

    def make(**oddities: Any) -> RunRecord:
        return read_run(write_fake_run(tmp_path / f"run{next(numbers)}", **oddities))

    return make
