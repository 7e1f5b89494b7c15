"""Honest, fast, CPU-only comparisons of class-imbalance methods on skin-lesion pixel tables."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "Demonstration",
    "InputError",
    "Limits",
    "ModelSpec",
    "PixelTable",
    "Prediction",
    "Progress",
    "Request",
    "Resampler",
    "RunRecord",
    "TrainedModel",
    "classify_image",
    "demonstrate_leaks",
    "load_classifier",
    "load_hmnist",
    "make_lesions",
    "read_run",
    "run_comparison",
    "train_model",
    "write_report",
]

#: Where the public names live; each module is imported when its name is first used. Types: ``__init__.pyi``.
_HOMES = {
    "Classifier": "skinmnist.inference.classifier",
    "Demonstration": "skinmnist.leakage.leaks",
    "InputError": "skinmnist.errors",
    "Limits": "skinmnist.experiment.execution.limits",
    "ModelSpec": "skinmnist.models.spec",
    "PixelTable": "skinmnist.datasets.table",
    "Prediction": "skinmnist.inference.classifier",
    "Progress": "skinmnist.experiment.comparison",
    "Request": "skinmnist.experiment.run_folder.run_info",
    "Resampler": "skinmnist.resampling.registry",
    "RunRecord": "skinmnist.experiment.run_folder.record",
    "TrainedModel": "skinmnist.experiment.train_model",
    "classify_image": "skinmnist.inference.classifier",
    "demonstrate_leaks": "skinmnist.leakage.demonstrate",
    "load_classifier": "skinmnist.inference.classifier",
    "load_hmnist": "skinmnist.datasets.hmnist",
    "make_lesions": "skinmnist.datasets.synthetic.lesions",
    "read_run": "skinmnist.experiment.run_folder.record",
    "run_comparison": "skinmnist.analysis.comparison",
    "train_model": "skinmnist.experiment.train_model",
    "write_report": "skinmnist.reporting.page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'skinmnist' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
