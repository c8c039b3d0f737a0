"""The stages of a benchmark."""
