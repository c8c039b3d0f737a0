"""Probes of frozen features: retrieval, breast density, linear probes."""
