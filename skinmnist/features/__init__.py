"""Lesion descriptors for classic models."""
