"""Text for pretraining: sources of documents, and token shards on the disk."""
