"""Leaky evaluations on purpose, beside the honest ones of a run."""
