"""Groups of samples, found around the ends of modes."""
