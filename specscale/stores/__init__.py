"""Writing embedding stores: ingest, append, rename."""
