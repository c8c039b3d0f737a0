"""Fine-tuning of a patch classifier: balanced batches, augmentation, loop."""
