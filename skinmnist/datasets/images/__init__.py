"""A pixel table from pictures."""
