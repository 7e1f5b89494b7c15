"""Pixel tables: found, read, checked, joined with metadata, cached."""
