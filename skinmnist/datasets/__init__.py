"""Find, read, validate, join and cache pixel tables."""

__all__ = [
    "cache",
    "classes_file",
    "csv_table",
    "decoding",
    "download",
    "files",
    "hmnist",
    "images",
    "mapped",
    "metadata",
    "near_duplicates",
    "synthetic",
    "table",
]
