"""Where embeddings live: the embedding store, the sources it is filled from, and the pairing of rows."""
