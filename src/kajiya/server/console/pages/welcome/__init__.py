"""The guided first run: from the example's CSV to a model with a key, in four steps."""
