"""A model's files, under `data`; there is no code. See `kajiya models starters`."""
