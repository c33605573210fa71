"""Models as folders: where they come from, what they are made of, and how they are converted."""
