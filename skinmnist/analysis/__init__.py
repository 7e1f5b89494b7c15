"""Analysis of a finished run: tests, intervals, operating points, curves, subgroups and checks."""

__all__ = [
    "analyze",
    "bootstrap",
    "checks",
    "curves",
    "operating_points",
    "significance",
    "subgroups",
    "summaries",
]
