"""Downloading BCS-DBT from the NCI Imaging Data Commons."""
