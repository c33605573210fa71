"""Faster forms of what a frozen Transformer does in a training step on a CPU, with the same results.

`install.use_fast_kernels` puts them into a loaded model, whose weights and classes stay as they are.
What is not a matrix product is one compiled loop (`loops`) in place of a chain of short operations, each
with its own pass over memory; layers with a common input are one product.
"""
