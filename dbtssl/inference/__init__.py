"""Patches to logits to predictions."""
