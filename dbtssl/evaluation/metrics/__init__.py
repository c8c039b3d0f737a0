"""The metrics of a table, one module for each family."""
