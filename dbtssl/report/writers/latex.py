"""The table in LaTeX with booktabs' rules: one ``table`` a group, for ``\\input`` into a paper.

It needs the packages booktabs and colortbl (or xcolor with the option ``table``), and a TeX that reads UTF-8.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtssl.report.table_cells import clean, heading_text, name_text
from dbtssl.report.table_columns import METHOD, own, shared, shown_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.report.table_columns import Column
    from dbtssl.report.table_model import Table, TableRow

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "–": r"\textendash{}",
    "†": r"$\dagger$",
    "≥": r"$\ge$",
    "≠": r"$\ne$",
    "≤": r"$\le$",
    "×": r"$\times$",
}
_DASHES = re.compile(r"-(?=-)")  # two hyphens would become a dash
MARK = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
SHADE = r"\cellcolor[gray]{0.9}"
HEAD = "% needs \\usepackage{booktabs} and \\usepackage[table]{xcolor}\n"


def latex(table: Table) -> str:
    """The whole table as LaTeX text that ends in a newline; shaded cells cannot be distinguished from the best."""
    parts = [_group(table, rows) for rows in table.groups().values()]
    notes = "".join(f"% {clean(note)}\n" for note in table.notes)
    return f"{HEAD}% {clean(table.title)}\n" + "\n".join(parts) + "\n" * bool(parts) + notes


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    out = "".join(_SPECIAL.get(character, character) for character in clean(text))
    return _DASHES.sub("-{}", out)


def _group(table: Table, rows: Sequence[TableRow]) -> str:
    columns = shown_columns(table, rows)
    first = next((row for row in rows if row.n_pos is not None), rows[0])
    caption = ". ".join((clean(table.title), ", ".join((heading_text(first), *shared(rows)))))
    methods = sum(row.kind == "method" for row in rows)
    lines = [_row(columns, row, rows) for row in rows]
    body = [*lines[:methods], *([r"\midrule"] if 0 < methods < len(rows) else []), *lines[methods:]]
    return "\n".join(
        (
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{escape(caption)}}}",
            rf"\begin{{tabular}}{{{''.join('r' if c.numeric else 'l' for c in columns)}}}",
            r"\toprule",
            " & ".join(escape(column.label) for column in columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {escape(note)}" for note in table.unlike(rows)),
            r"\end{table}",
        )
    )


def _row(columns: Sequence[Column], row: TableRow, rows: Sequence[TableRow]) -> str:
    return " & ".join(_cell(column, row, rows) for column in columns) + r" \\"


def _cell(column: Column, row: TableRow, rows: Sequence[TableRow]) -> str:
    if column is METHOD:
        details = own(row, rows)
        if row.single:
            return rf"\quad {{\footnotesize {escape(details)}}}"
        name = (
            escape(name_text(row)) if row.kind == "method" else rf"\textit{{{escape(row.method)}}}"
        )
        return rf"{name} {{\footnotesize ({escape(details)})}}" if details else name
    if not (text := column.text(row)):
        return ""
    text, cell = escape(text), column.cell(row)
    if cell is not None:
        text = (SHADE if cell.tied else "") + MARK[cell.rank].format(text)
    below = column.below(row)
    return rf"{text} {{\scriptsize {escape(below)}}}" if below else text
