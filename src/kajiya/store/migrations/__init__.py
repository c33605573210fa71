"""Numbered steps that bring an older database to the present tables; each runs once, in order."""
