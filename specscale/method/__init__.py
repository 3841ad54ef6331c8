"""The method: a comparison from its options to its result."""
