"""Uploads, and the datasets that they become."""
