"""Checks of components before they are used: their structure, and what methods name."""
