"""Public test kit for plugin authors."""
