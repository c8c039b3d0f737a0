"""Self-supervised learning on digital breast tomosynthesis: methods as plugins, one honest table."""

__version__ = "0.1.0"
