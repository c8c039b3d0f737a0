"""The table as Parquet: the tidy records, typed. Text is as it is: nothing runs a Parquet file as formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.report.tidy import FIELDS, records

if TYPE_CHECKING:
    from dbtssl.report.table import Table


def parquet(table: Table) -> bytes:
    """The bytes of a Parquet file; equal tables give equal bytes with one version of pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in FIELDS.items()])
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(records(table)), schema), out, compression="zstd")
    content: bytes = out.getvalue().to_pybytes()
    return content
