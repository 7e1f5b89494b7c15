"""Build pixel tables from pictures."""
