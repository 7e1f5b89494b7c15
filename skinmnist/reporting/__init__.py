"""The report of a run."""

__all__ = ["format", "page", "plots", "sections", "side_by_side", "theme"]
