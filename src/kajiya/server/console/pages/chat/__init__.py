"""Talking to models, comparing them, and telling what was good."""
