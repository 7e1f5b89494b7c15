"""Published systems as presets."""
