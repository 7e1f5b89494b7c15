"""Honest, fast, CPU-only comparisons of class-imbalance methods on skin-lesion pixel tables."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from skinmnist.analysis.comparison import run_comparison
    from skinmnist.datasets.hmnist import load_hmnist
    from skinmnist.datasets.synthetic.lesions import make_lesions
    from skinmnist.datasets.table import PixelTable
    from skinmnist.errors import InputError
    from skinmnist.inference.classifier import classify_image, load_classifier
    from skinmnist.leakage.demonstrate import demonstrate_leaks
    from skinmnist.reporting.page import write_report

__all__ = [
    "InputError",
    "PixelTable",
    "classify_image",
    "demonstrate_leaks",
    "load_classifier",
    "load_hmnist",
    "make_lesions",
    "run_comparison",
    "write_report",
]

#: Where the public names live; each module is imported when its name is first used.
_HOMES = {
    "InputError": "skinmnist.errors",
    "PixelTable": "skinmnist.datasets.table",
    "classify_image": "skinmnist.inference.classifier",
    "load_classifier": "skinmnist.inference.classifier",
    "demonstrate_leaks": "skinmnist.leakage.demonstrate",
    "load_hmnist": "skinmnist.datasets.hmnist",
    "make_lesions": "skinmnist.datasets.synthetic.lesions",
    "run_comparison": "skinmnist.analysis.comparison",
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
