"""The store of stage outputs. It knows nothing of tomosynthesis."""
