"""The sections of the report: modules, and templates beside them."""

__all__ = [
    "answer",
    "certainty",
    "costs",
    "data",
    "inflated",
    "leaderboard",
    "outcomes",
    "probabilities",
    "tradeoff",
    "training",
]
