"""Patient-wise splits, published split lists, and fractions of the labels."""
