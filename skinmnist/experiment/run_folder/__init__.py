"""The run folder: stored cells, run info and records."""

__all__ = ["folder", "record", "run_info", "store"]
