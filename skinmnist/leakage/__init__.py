"""Deliberately leaky evaluations, compared with the honest ones of a run."""
