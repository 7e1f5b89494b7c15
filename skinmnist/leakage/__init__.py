"""Deliberately leaky evaluations, beside the honest ones of a run."""
