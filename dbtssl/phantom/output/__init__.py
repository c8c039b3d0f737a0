"""Writing a phantom cohort: DICOM files, tables, ground truth."""
