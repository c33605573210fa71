"""File formats of models: GGUF and the ecosystem's safetensors folders, in both directions."""
