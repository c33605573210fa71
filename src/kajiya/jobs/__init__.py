"""Long work in processes of its own that outlive whoever started them. Never imports torch."""
