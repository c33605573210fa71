"""What is served, to whom, and how much of it."""
