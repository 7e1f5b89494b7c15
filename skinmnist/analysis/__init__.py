"""What is computed from a finished run: tests, intervals, operating points, curves, subgroups, checks."""
