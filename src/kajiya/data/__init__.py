"""Question-answer tables: reading, checking and splitting them, and the datasets made of them."""
