"""Where cells run: workers, limits, locks, Dask."""
