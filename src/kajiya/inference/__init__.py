"""Answering with a model: one protocol for every engine, and engines in processes of their own.

Does not train, does not know HTTP, and never imports torch.
"""
