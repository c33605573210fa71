"""Documents, and lines of documents, that a corpus holds more than once."""
