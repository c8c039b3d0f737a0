"""The table in the terminal: a table a group, intervals below their values, as many columns as fit whole."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from dbtssl.report.table_cells import clean, heading_text
from dbtssl.report.table_columns import METHOD, own, shared, shown_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from dbtssl.report.table_columns import Column
    from dbtssl.report.table_model import Cell, Table, TableRow

NARROWEST = 40  # columns for the method and the AUC; below it lines run over, and no number is cut
TEXT_WIDTH = 150  # of table.txt
# Columns of a method's name before it is folded, and whether intervals have brackets; the roomiest that fits is taken.
ROOM = ((28, True), (28, False), (16, False))
STYLE = {"best": "bold", "second": "underline", "": ""}
MARK = {"best": "¹", "second": "²", "": ""}
TIED = "†"
MARKS = "¹ marks the best value and ² the second, where bold and underline cannot be shown."


def print_table(table: Table, console: Console | None = None) -> None:
    """Print ``table`` to ``console``, by default standard output, laid out for its width."""
    console = console or Console(highlight=False)
    width = console.width
    if width < NARROWEST:
        console.width = NARROWEST
    console.print(renderable(table, console.width, marks=console.color_system is None))
    if width < NARROWEST:
        console.width = width


def plain_text(table: Table, width: int = TEXT_WIDTH) -> str:
    """The same without colours, for a file; the best is written ``84.2¹`` and the second ``84.1²``."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, color_system=None, force_terminal=False, legacy_windows=False
    )
    console.print(renderable(table, width, marks=True))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def renderable(table: Table, width: int, *, marks: bool = False) -> RenderableType:
    """What rich prints for ``width`` columns; ``marks`` writes the ranks as characters."""
    parts: list[RenderableType] = [Text(clean(table.title), style="bold"), Text()]
    left_out: dict[str, None] = {}
    for rows in table.groups().values():
        first = next((row for row in rows if row.n_pos is not None), rows[0])
        common = ", ".join(shared(rows))
        heading = Text(heading_text(first)).append(f"\n{common}" if common else "", style="dim")
        columns, layout = fit(shown_columns(table, rows), rows, width, marks)
        shown = {column.name for column in columns}
        left_out |= {c.label: None for c in shown_columns(table, rows) if c.name not in shown}
        parts += [heading, _level(columns, rows, width, layout), Text()]
    said = list(table.notes)
    if marks:
        said.append(MARKS)
    if left_out:
        said.append(
            f"Left out at {width} columns: {', '.join(left_out)}. A wider terminal shows them, and so do "
            "--cols and table.csv."
        )
    notes = RichTable.grid(padding=(0, 1))
    for note in said:
        notes.add_row("•", Text(clean(note)), style="dim")
    return Group(*parts, notes)


class Layout(NamedTuple):
    """How roomy a table is: columns of a name, whether intervals have brackets, and whether ranks are characters."""

    name: int
    brackets: bool
    marks: bool


def fit(
    columns: Sequence[Column], rows: Sequence[TableRow], width: int, marks: bool
) -> tuple[list[Column], Layout]:
    """The columns that fit whole into ``width``, as roomy as may be; the least needed are left out first."""
    for name, brackets in ROOM:
        layout = Layout(name, brackets, marks)
        kept = list(columns)
        widths = {c.name: _width(c, rows, layout) for c in columns}
        if sum(widths.values()) + len(widths) - 1 <= width:
            return kept, layout
    while sum(widths[c.name] for c in kept) + len(kept) - 1 > width and len(kept) > 2:
        kept.remove(min(reversed(kept), key=lambda c: c.keep))
    return kept, layout


def _width(column: Column, rows: Sequence[TableRow], layout: Layout) -> int:
    """Columns that the widest cell takes; a name may be folded."""
    lines = [column.label]
    for row in rows:
        lines += str(_cell(column, row, rows, layout)).splitlines()
    widest = max(map(cell_len, lines))
    return min(widest, layout.name) if column is METHOD else widest


def _level(
    columns: Sequence[Column], rows: Sequence[TableRow], width: int, layout: Layout
) -> RichTable:
    """One group of rows, references below a rule."""
    widths = [_width(column, rows, layout) for column in columns]
    gap = 1 if sum(widths) + 2 * (len(widths) - 1) <= width else 0  # more air if there is room
    out = RichTable(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False)
    for column, least in zip(columns, widths, strict=True):
        label = column.label.rjust(least) if column.numeric else column.label
        out.add_column(Text(label), no_wrap=column.numeric, overflow="fold", width=least)
    methods = sum(row.kind == "method" for row in rows)
    for i, row in enumerate(rows, start=1):
        cells = [_cell(column, row, rows, layout) for column in columns]
        out.add_row(
            *(
                _right(t, w) if c.numeric else t
                for c, t, w in zip(columns, cells, widths, strict=True)
            ),
            style="dim" if row.kind != "method" or row.single else "",
            end_section=i == methods,
        )
    return out


def _right(text: Text, width: int) -> Text:
    """Lines to the right, blanks at their ends kept: rich would take them away."""
    lines = text.split("\n")
    return Text("\n").join(Text(" " * (width - cell_len(x.plain))).append_text(x) for x in lines)


def _cell(column: Column, row: TableRow, rows: Sequence[TableRow], layout: Layout) -> Text:
    """A value with its interval or standard deviation below it."""
    if column is METHOD:
        details = own(row, rows)
        if row.single:
            return Text(f"  {details}")
        return Text(column.text(row)).append(f"\n{details}" if details else "", style="dim")
    text, cell = Text(), column.cell(row)
    if value := column.text(row):
        short = column.name == "epochs" and row.undertrained
        text.append(value, style="red" if short else STYLE[cell.rank if cell else ""])
        text.append(_suffix(cell, column, rows, layout.marks))
    if below := column.below(row):
        text.append("\n")
        text.append(below if layout.brackets else _bare(below), style="dim")
    return text


def _suffix(cell: Cell | None, column: Column, rows: Sequence[TableRow], marks: bool) -> str:
    """The marks of a value, with blanks where others of the column have some, so that digits stay below digits."""
    others = [c for row in rows if (c := column.cell(row)) is not None]
    rank = MARK[cell.rank] if cell and marks else ""
    tied = TIED if cell and cell.tied else ""
    rank_width = int(marks and any(c.rank for c in others))
    return rank.ljust(rank_width) + tied.ljust(int(any(c.tied for c in others)))


def _bare(interval: str) -> str:
    """``77.1–90.5`` for ``[77.1, 90.5]``; differences, which have signs, keep a word between them."""
    if not interval.startswith("["):
        return interval
    low, _, high = interval[1:-1].partition(", ")
    signed = low.startswith(("-", "+")) or high.startswith(("-", "+"))
    return f"{low} to {high}" if signed else f"{low}–{high}"
