"""A comparison from table to out-of-fold predictions and scores."""
