"""What commands and notebooks share: arguments, exit codes, progress, tables, and a run in Python."""

__all__ = ["common", "progress", "run", "terminal"]
