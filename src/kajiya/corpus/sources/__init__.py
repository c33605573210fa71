"""Where documents come from: each module reads one kind of source, a document at a time."""
