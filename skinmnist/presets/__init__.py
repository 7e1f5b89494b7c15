"""Presets that reproduce published systems."""
