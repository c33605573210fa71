"""What was made, from what, and where it lies: artifacts, their lineage, and the database.

The artifacts' folders are the truth; the database is an index of them. Never imports torch.
"""
