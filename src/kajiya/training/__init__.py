"""Training: one loop, objectives that turn a batch into a loss, adapters, estimates."""
