"""The collection's files from a mirror, checked."""
