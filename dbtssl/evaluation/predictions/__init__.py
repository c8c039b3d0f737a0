"""The predictions table: schema, checks, selection of slices, named evaluation sets."""
