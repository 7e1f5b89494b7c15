"""A synthetic table that looks like HAM10000."""

__all__ = ["lesions", "rendering"]
