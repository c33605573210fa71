"""The gateway: the OpenAI HTTP API in front of engines that run in processes of their own.

Loopback only, with one key. Never imports torch, and survives the death of any engine.
"""
