"""From source files to a prepared data set."""
