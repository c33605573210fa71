"""Corpora: from a recipe to documents, what was kept and dropped, and taking documents out."""
