"""How a sweep is executed: spans, threads, checkpoints and events, here and on a cluster."""
