"""RWKV weights in the formats of others: official `.pth`, flash-linear-attention's layout, GGUF."""
