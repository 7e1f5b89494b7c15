"""Run a comparison, from a table to out-of-fold predictions and scores."""
