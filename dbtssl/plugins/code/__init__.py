"""What the code of a component reads: its modules, what they import, and data files."""
