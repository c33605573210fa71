"""The main job: a table of questions and answers becomes a tuned, measured, registered model."""
