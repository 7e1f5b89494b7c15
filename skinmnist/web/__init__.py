"""The local page that classifies a picture."""

__all__ = ["app", "guard", "server"]
