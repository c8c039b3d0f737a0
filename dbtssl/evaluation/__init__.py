"""Protocols, metrics, operating points, clustered statistics. Nothing here imports torch."""
