"""Reading, drawing and holding pixel tables."""
