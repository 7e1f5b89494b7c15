"""Decisions from probabilities: computations on arrays, and estimators for any scikit-learn pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinmnist.decisions.estimators import (
        ConformalSets,
        CostSensitiveDecision,
        PriorCorrection,
        TunedPrior,
    )

__all__ = ["ConformalSets", "CostSensitiveDecision", "PriorCorrection", "TunedPrior"]


def __getattr__(name: str) -> Any:
    """Import the estimators on first use, because reports and saved models need only `probabilities`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    from skinmnist.decisions import estimators

    return getattr(estimators, name)
