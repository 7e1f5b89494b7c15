"""Lessons: scripts of cells, run and exported as pages and notebooks; the exam and its grading."""
