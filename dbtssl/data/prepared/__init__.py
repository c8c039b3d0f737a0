"""The prepared data set on disk: arrays, tables, and how they are read."""
