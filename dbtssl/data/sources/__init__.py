"""Sources of volumes: BCS-DBT, the phantom, and folders of slices."""
