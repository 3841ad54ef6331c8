"""How a sweep is executed: spans, threads, checkpoints, plans and events."""
