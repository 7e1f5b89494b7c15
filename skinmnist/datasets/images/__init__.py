"""A pixel table from pictures."""

__all__ = ["building", "folders", "limits", "pictures"]
