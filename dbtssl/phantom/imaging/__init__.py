"""From a phantom breast to pixels: anatomy, projection, reconstruction, detector."""
