"""Conversations of people with models in the console, and what they thought of the answers."""
