"""Writers of the table, one module for each format."""
