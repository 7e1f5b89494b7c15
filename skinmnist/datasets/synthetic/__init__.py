"""Generate synthetic tables that resemble HAM10000."""
