"""Confounder screening: what predicts the label without the breast being looked at."""
