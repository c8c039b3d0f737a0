"""Self-supervised pretraining: pairs, optimiser, loop."""
