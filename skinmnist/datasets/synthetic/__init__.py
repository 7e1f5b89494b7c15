"""Generate a synthetic table that looks like HAM10000."""
