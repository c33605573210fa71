"""Easy Trainer: from a file of questions and answers to a running training in three steps."""
