"""Shared code of the commands: arguments, exit codes, progress and tables."""

__all__ = ["common", "progress", "terminal"]
