"""What a result says beyond its modes: labels, overlap and agreement of its groups."""
