"""Inputs of a benchmark: the prepared data set, breast densities, starting weights."""
