"""The pages of the console, one folder each; `console/__init__.py` says how to add one."""
