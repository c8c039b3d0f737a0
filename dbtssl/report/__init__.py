"""One table object, many renderings."""
