"""A comparison from table to out-of-fold predictions and scores."""

__all__ = [
    "cells",
    "comparison",
    "execution",
    "fit_cell",
    "fusion",
    "grid",
    "inputs",
    "metrics",
    "plan",
    "run_folder",
    "splits",
    "train_model",
    "training",
    "trial_runner",
]
