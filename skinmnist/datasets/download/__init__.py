"""The collection's files from a mirror, checked."""

__all__ = ["collection", "fetch"]
