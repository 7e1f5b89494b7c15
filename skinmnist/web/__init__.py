"""The local page that classifies a picture."""
