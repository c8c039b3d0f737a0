"""Localisation: pointing game, boxes, and the official detection metric."""
