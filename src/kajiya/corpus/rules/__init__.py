"""What a document must be like to be trained on: rules with thresholds, measured over whole batches."""
