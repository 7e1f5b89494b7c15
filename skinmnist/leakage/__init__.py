"""Leaky twins of a run, made on purpose."""
