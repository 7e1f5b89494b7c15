"""The models of a comparison."""
