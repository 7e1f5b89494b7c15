"""What the commands share: arguments, exit codes, progress, tables."""

__all__ = ["common", "progress", "terminal"]
