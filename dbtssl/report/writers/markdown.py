"""The table in Markdown (GitHub's): one table a group, notes as a list."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from dbtssl.report.table_cells import clean, heading_text, name_text
from dbtssl.report.table_columns import METHOD, own, shared, shown_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.report.table_columns import Column
    from dbtssl.report.table_model import Table, TableRow

_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")
MARK = {"best": "**{}**", "second": "<ins>{}</ins>", "": "{}"}
TIED = "†"


def markdown(table: Table) -> str:
    """The whole table as Markdown text that ends in a newline."""
    parts = [f"## {escape(table.title)}"]
    for rows in table.groups().values():
        columns = shown_columns(table, rows)
        header = [escape(column.label) for column in columns]
        rule = ["--:" if column.numeric else ":--" for column in columns]
        lines = [_cells(header), _cells(rule)]
        lines += [_cells([_cell(column, row, rows) for column in columns]) for row in rows]
        first = next((row for row in rows if row.n_pos is not None), rows[0])
        heading = ", ".join(filter(None, [heading_text(first), *shared(rows)]))
        parts += [f"### {escape(heading)}", "\n".join(lines)]
    parts.append("\n".join(f"* {escape(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that Markdown and the HTML in it leave alone."""
    return _SPECIAL.sub(r"\\\1", html.escape(clean(text), quote=False))


def _cell(column: Column, row: TableRow, rows: Sequence[TableRow]) -> str:
    if column is METHOD:
        details = own(row, rows)
        name = escape(name_text(row)) if row.kind == "method" else f"*{escape(row.method)}*"
        if row.single:
            return f"&emsp;{escape(details)}"
        return f"{name} ({escape(details)})" if details else name
    text = column.text(row)
    if not text:
        return ""
    text = escape(text)
    cell = column.cell(row)
    if cell is not None:
        text = MARK[cell.rank].format(text) + (TIED if cell.tied else "")
    return " ".join(filter(None, (text, column.below(row))))


def _cells(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"
