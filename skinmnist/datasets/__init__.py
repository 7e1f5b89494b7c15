"""Find, read, validate, join and cache pixel tables."""

__all__ = [
    "arrays",
    "cache",
    "classes_file",
    "csv_table",
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
