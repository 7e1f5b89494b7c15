"""The run folder: stored cells, run info and records."""

__all__ = ["decoding", "file_names", "record", "run_info", "store"]
