"""Signing in and out, the first start, and what a person chooses for himself."""
