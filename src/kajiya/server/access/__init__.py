"""Who may ask what, how much of it, and what was used: keys, limits, and the ledger of usage.

Knows nothing of HTTP but the errors it answers with.
"""
