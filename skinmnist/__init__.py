"""Honest, fast, CPU-only comparisons of class-imbalance methods on skin-lesion pixel tables."""

__version__ = "0.1.0"
