"""Lessons: scripts of cells, run and written down as pages and notebooks; the exam and its marker."""
