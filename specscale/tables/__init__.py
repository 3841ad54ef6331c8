"""Parquet tables: their rows, the types and the values of their columns."""
