"""The table as tidy CSV: one line for each row and metric, percent, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from dbtssl.report.cells import clean

if TYPE_CHECKING:
    from dbtssl.report.table import Table, TableRow

FORMULA = ("=", "+", "-", "@")
RUN = ("kind", "method", "backbone", "finetuner", "seed", "epochs_done", "epochs_planned", "level")
METRIC = ("metric", "value", "low", "high", "rank", "paper", "reason")
COUNTS = ("n_pos", "n_neg", "n_pos_patients", "n_patients", "threshold", "tp", "fp", "tn", "fn")
SET = ("protocol", "protocol_digest", "evaluation_set", "failure")
COLUMNS = ("title", *RUN, *METRIC, *COUNTS, *SET)


def tidy_csv(table: Table) -> str:
    """CSV text with a header. Empty is missing; ``value``, ``low``, ``high`` and ``paper`` are in percent."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        for metric in table.metrics:
            line = {"title": table.title} | _line(row, metric)
            writer.writerow({name: _guard(line[name]) for name in COLUMNS})
    return out.getvalue()


def _line(row: TableRow, metric: str) -> dict[str, Any]:
    cell = row.cells[metric]
    return {name: getattr(row, name) for name in (*RUN, *COUNTS, *SET)} | {
        "metric": metric,
        "value": percent(cell.value.value),
        "low": percent(cell.value.low),
        "high": percent(cell.value.high),
        "rank": cell.rank,
        "paper": cell.paper,
        "reason": cell.value.reason,
    }


def percent(share: float | None) -> float | None:
    """A share in [0, 1] as percent, without the last binary digits."""
    return None if share is None else round(100 * share, 6)


def _guard(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(FORMULA) else text
