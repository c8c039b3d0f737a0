"""CSV tables: the strict reader, the published tables of BCS-DBT, and breast densities."""
