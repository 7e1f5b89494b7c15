"""Where cells run: workers, limits, locks, Dask."""

__all__ = ["dask", "limits", "locks", "log", "machine", "runner", "worker"]
