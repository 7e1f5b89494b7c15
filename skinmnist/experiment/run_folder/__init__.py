"""The run folder: stored cells, run info, record."""

__all__ = ["decoding", "file_names", "record", "run_info", "store"]
