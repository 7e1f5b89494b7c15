"""From a pixel table to out-of-fold predictions and scores."""
