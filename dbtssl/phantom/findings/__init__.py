"""What lies in a phantom breast: lesions and benign findings."""
