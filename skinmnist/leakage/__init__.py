"""Leaky evaluations on purpose, beside the honest ones of a run."""

__all__ = ["demonstrate", "leaks", "scenario"]
