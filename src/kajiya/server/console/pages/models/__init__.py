"""The registry: what there is, where it came from, and taking it away."""
