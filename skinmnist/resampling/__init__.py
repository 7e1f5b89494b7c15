"""Samplers and remedies for class imbalance, by name."""
