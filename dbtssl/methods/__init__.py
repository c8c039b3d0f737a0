"""The baseline methods: random weights, and weights that were trained elsewhere."""
