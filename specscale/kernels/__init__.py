"""Compiled leaves: the same operations for every backend, and the memory that they work in."""
