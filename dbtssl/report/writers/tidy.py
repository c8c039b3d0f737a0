"""The table as tidy records, one for each row and metric, in the units that are printed, and as CSV."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from dbtssl.evaluation.catalogue import CATALOGUE
from dbtssl.report.row_differences import unlike_words
from dbtssl.report.table_cells import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dbtssl.report.table_model import Table, TableRow


FORMULA = ("=", "+", "-", "@")
RUN: dict[str, type] = {
    "kind": str,
    "method": str,
    "backbone": str,
    "finetuner": str,
    "seed": int,
    "seeds": str,
    "failed_seeds": str,
    "epochs_done": int,
    "epochs_planned": int,
    "level": str,
    "subgroup": str,
}
METRIC: dict[str, type] = {
    "metric": str,
    "unit": str,
    "value": float,
    "low": float,
    "high": float,
    "sd": float,
    "rank": str,
    "tied": bool,
    "paper": float,
    "reason": str,
}
DIFFERENCE: dict[str, type] = {
    "baseline": str,
    "difference": float,
    "difference_low": float,
    "difference_high": float,
    "p": float,
    "p_holm": float,
    "unlike": str,
}
COUNTS: dict[str, type] = {
    **dict.fromkeys(("n_pos", "n_neg", "n_pos_patients", "n_patients"), int),
    "threshold": float,
    **dict.fromkeys(("tp", "fp", "tn", "fn"), int),
}
SET = dict.fromkeys(
    ("protocol", "protocol_digest", "evaluation_set", "failure", "hint", "warnings"), str
)
FIELDS: dict[str, type] = {"title": str, **RUN, **METRIC, **DIFFERENCE, **COUNTS, **SET}
"""Names and types, in order."""


def records(table: Table) -> Iterator[dict[str, Any]]:
    """One record for each row and metric that it has; None is missing, text is cleaned. Names: `FIELDS`."""
    for row in table.rows:
        for metric in table.metrics:
            if metric in row.cells:
                line = {"title": table.title} | _record(row, metric)
                yield {n: clean(line[n]) if isinstance(line[n], str) else line[n] for n in FIELDS}


def tidy_csv(table: Table) -> str:
    """CSV text with a header. Empty is missing."""
    return csv_text(records(table), FIELDS)


def csv_text(lines: Iterable[Mapping[str, Any]], fields: Iterable[str]) -> str:
    """Records as CSV text with a header; no cell is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(fields), lineterminator="\n")
    writer.writeheader()
    for record in lines:
        writer.writerow({name: _guard(value) for name, value in record.items()})
    return out.getvalue()


def _record(row: TableRow, metric: str) -> dict[str, Any]:
    cell, d = row.cells[metric], row.differences.get(metric)
    return {name: getattr(row, name) for name in (*RUN, *COUNTS, *SET)} | {
        "seeds": " ".join(map(str, row.seeds)),
        "failed_seeds": " ".join(map(str, row.failed_seeds)),
        "warnings": "; ".join(row.warnings),
        "metric": metric,
        "unit": CATALOGUE[metric].unit,
        "value": printed(metric, cell.value.value),
        "low": printed(metric, cell.value.low),
        "high": printed(metric, cell.value.high),
        "sd": printed(metric, cell.sd),
        "rank": cell.rank,
        "tied": cell.tied,
        "paper": cell.paper,
        "reason": cell.value.reason,
        "baseline": d.baseline if d else "",
        "difference": printed(metric, d.difference) if d else None,
        "difference_low": printed(metric, d.low) if d else None,
        "difference_high": printed(metric, d.high) if d else None,
        "p": d.p if d else None,
        "p_holm": d.p_holm if d else None,
        "unlike": unlike_words(row.unlike),
    }


def printed(metric: str, value: float | None) -> float | None:
    """A fraction as percent, another number as it is, without the last binary digits."""
    scale = 100 if CATALOGUE[metric].unit == "percent" else 1
    return None if value is None else round(scale * value, 6)


def _guard(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith(FORMULA) else value


def table_json(table: Table) -> str:
    """JSON text that ends in a newline; equal tables give equal text."""
    return (
        json.dumps(asdict(table), indent=1, sort_keys=True, default=_plain, allow_nan=False) + "\n"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"cannot turn {type(value).__name__} into JSON")


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
