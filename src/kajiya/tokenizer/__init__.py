"""Text and conversations to token ids and back. Never imports torch or transformers."""
