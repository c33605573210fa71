"""Language, people, storage, retention and the audit log."""
