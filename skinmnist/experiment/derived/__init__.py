"""Cells made from finished cells, without training: ensembles, clinical columns, and tuned thresholds."""
