"""The report of a run."""

__all__ = ["format", "page", "sections", "side_by_side", "theme"]
