"""Samplers and strategies for class imbalance, by name."""
