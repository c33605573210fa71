"""Kajiya (鍛冶屋): forge small, Japanese-strong language models on machines you own."""

__version__ = "0.1.0"
