"""Volumes: records, tables, DICOM frames, tissue, split, the prepared store."""
