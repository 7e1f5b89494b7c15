"""The local page that classifies pictures."""
