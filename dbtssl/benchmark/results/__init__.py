"""What a run leaves: its record, reports, comparisons of runs."""
