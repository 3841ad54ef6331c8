"""Backends: the same operations in each, and the memory that they work in."""
