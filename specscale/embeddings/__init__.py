"""Reading embeddings: stores, arrays, and the rows of several that belong together."""
