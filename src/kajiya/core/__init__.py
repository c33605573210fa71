"""What every other layer stands on. Imports nothing of Kajiya outside itself, and never torch."""
