"""Execution of cells: workers, limits, locks and Dask."""
