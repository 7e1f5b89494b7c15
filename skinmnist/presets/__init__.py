"""Published systems as presets."""

__all__ = ["claims", "presets", "run"]
