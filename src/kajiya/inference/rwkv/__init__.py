"""The engine for RWKV models: every request has a state of its own, and all of them share one batch."""
