"""The parameters of a phantom: breast, scanner geometry, compression, noise."""
