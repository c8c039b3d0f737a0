"""Monitors of a pretraining: online probes, their plot and log."""
