"""Several devices: gathering, shuffling, and batch normalisation over all images or in parts."""
