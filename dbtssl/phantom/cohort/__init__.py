"""Which subjects a phantom cohort has, and which views, labels and boxes."""
