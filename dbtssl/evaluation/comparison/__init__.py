"""Paired comparisons of methods, and the smallest difference that a test set could show."""
