"""Lessons: scripts of cells, run and written as pages and notebooks; the exam and its marker."""
