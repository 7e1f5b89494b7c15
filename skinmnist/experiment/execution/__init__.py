"""Execution of cells: workers, limits, locks, Dask."""
