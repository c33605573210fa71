"""Measuring what a model can do: here, base and tuned side by side on questions and answers."""
