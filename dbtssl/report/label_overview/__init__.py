"""The overview of several fractions of the labels."""
