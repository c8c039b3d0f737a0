"""From the logits of patches to scores of slices, volumes, breasts and patients."""
