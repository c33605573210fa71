"""The command line: one file a noun, thin over the Python API. Heavy imports wait inside functions."""
