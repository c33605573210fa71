"""What a corpus holds and what was left out of it, told as numbers and as a page."""
