"""Checks that warn of pitfalls, each with a code and a lesson."""
