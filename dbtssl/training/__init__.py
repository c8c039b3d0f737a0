"""Training loops: self-supervised pretraining and the shared patch fine-tuning."""
