"""What every RWKV version shares: the state between tokens, token shift, outputs."""
