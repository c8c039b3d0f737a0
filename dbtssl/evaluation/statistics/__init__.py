"""Statistics with the patient as the unit: clustered covariances, intervals, bootstrap."""
