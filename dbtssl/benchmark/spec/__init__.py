"""The benchmark specification and the files that it is read from."""
