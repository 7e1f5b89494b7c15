"""The sections of the report: one module and one template each."""

__all__ = [
    "answer",
    "certainty",
    "claims",
    "costs",
    "data",
    "label_audit",
    "leaderboard",
    "leaks",
    "outcomes",
    "probabilities",
    "recall",
    "tradeoff",
    "training",
]
