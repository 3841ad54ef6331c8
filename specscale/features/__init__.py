"""Feature maps and bandwidths: what φ is."""
