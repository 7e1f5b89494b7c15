"""Execution of cells: workers, limits and Dask."""
