"""Benchmark: spec, stages, plan, result store."""
