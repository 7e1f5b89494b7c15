"""The run folder: stored cells, run info, record."""
