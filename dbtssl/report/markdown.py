"""The table in Markdown (GitHub's): one table a level, notes as a list."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from dbtssl.report.cells import (
    METRIC_NAMES,
    clean,
    counts_text,
    epochs_text,
    heading_text,
    interval_text,
    paper_text,
    seed_text,
    value_text,
)

if TYPE_CHECKING:
    from dbtssl.report.table import Cell, Table, TableRow

_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")
NAMES = ("method", "backbone", "fine-tuning", "epochs")
MARK = {"best": "**{}**", "second": "<ins>{}</ins>", "": "{}"}


def markdown(table: Table) -> str:
    """The whole table as Markdown text that ends in a newline."""
    parts = [f"## {escape(table.title)}"]
    metrics = [METRIC_NAMES[m] for m in table.metrics]
    header = [*NAMES, "seed", *metrics, "pos / neg (patients)", "paper AUC"]
    rule = [":--"] * len(NAMES) + ["--:"] * (len(header) - len(NAMES))
    for rows in table.groups().values():
        lines = [_cells(header), _cells(rule), *(_cells(_row(table, row)) for row in rows)]
        parts += [f"### {escape(_heading(rows))}", "\n".join(lines)]
    parts.append("\n".join(f"* {escape(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that Markdown and the HTML in it leave alone."""
    return _SPECIAL.sub(r"\\\1", html.escape(clean(text), quote=False))


def _heading(rows: tuple[TableRow, ...]) -> str:
    return heading_text(next((row for row in rows if row.n_pos is not None), rows[0]))


def _row(table: Table, row: TableRow) -> list[str]:
    name = escape(row.method) if row.kind == "method" else f"*{escape(row.method)}*"
    return [
        name,
        escape(row.backbone),
        escape(row.finetuner),
        epochs_text(row),
        seed_text(row),
        *(_cell(metric, row.cells[metric]) for metric in table.metrics),
        counts_text(row),
        paper_text(row),
    ]


def _cell(metric: str, cell: Cell) -> str:
    value, interval = value_text(metric, cell.value), interval_text(metric, cell.value)
    if not value:
        return ""
    return " ".join(filter(None, (MARK[cell.rank].format(value), interval)))


def _cells(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"
