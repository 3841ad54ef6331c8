"""Whole comparisons on data that every installation has: digits, docstrings, and groups planted in random vectors."""
