"""The table in the terminal: a table a group, intervals below their values, as many columns as fit whole."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from dbtssl.report.cells import clean, heading_text
from dbtssl.report.columns import METHOD, own, shared, shown_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from dbtssl.report.columns import Column
    from dbtssl.report.table import Cell, Table, TableRow

WIDE = 120  # columns from which intervals keep their brackets
NARROWEST = 40  # columns for the method and the AUC; below it lines run over, and no number is cut
TEXT_WIDTH = 150  # of table.txt
NAME = (14, 24)  # columns of a method's name: at least, and at most before it is folded
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
        columns, dropped = fit(shown_columns(table, rows), rows, width, marks)
        left_out |= dict.fromkeys(column.label for column in dropped)
        parts += [heading, _level(columns, rows, width, marks), Text()]
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


def fit(
    columns: Sequence[Column], rows: Sequence[TableRow], width: int, marks: bool
) -> tuple[list[Column], list[Column]]:
    """The columns that fit whole into ``width``, and those that do not; the least needed go first."""
    kept = list(columns)
    widths = {c.name: _width(c, rows, width, marks) for c in columns}
    while sum(widths[c.name] for c in kept) + len(kept) - 1 > width and len(kept) > 2:
        kept.remove(min(reversed(kept), key=lambda c: c.keep))
    return kept, [c for c in columns if c not in kept]


def _width(column: Column, rows: Sequence[TableRow], width: int, marks: bool) -> int:
    """Columns that the widest cell takes; a name may be folded."""
    texts = [column.label]
    for row in rows:
        texts += str(_cell(column, row, rows, width, marks)).splitlines()
    widest = max(map(cell_len, texts))
    return min(max(widest, NAME[0]), NAME[0] if width < WIDE else NAME[1]) if column is METHOD else widest  # fmt: skip


def _level(
    columns: Sequence[Column], rows: Sequence[TableRow], width: int, marks: bool
) -> RichTable:
    """One group of rows, references below a rule."""
    widths = [_width(column, rows, width, marks) for column in columns]
    gap = 1 if sum(widths) + 2 * (len(widths) - 1) <= width else 0  # more air where there is room
    out = RichTable(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False)
    for column, least in zip(columns, widths, strict=True):
        out.add_column(
            Text(column.label),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric,
            overflow="fold",
            min_width=least,
        )
    methods = sum(row.kind == "method" for row in rows)
    for i, row in enumerate(rows, start=1):
        out.add_row(
            *(_cell(column, row, rows, width, marks) for column in columns),
            style="dim" if row.kind != "method" or row.single else "",
            end_section=i == methods,
        )
    return out


def _cell(column: Column, row: TableRow, rows: Sequence[TableRow], width: int, marks: bool) -> Text:
    """A value with its interval or spread below it."""
    if column is METHOD:
        told = own(row, rows)
        if row.single:
            return Text(f"  {told}")
        return Text(column.text(row)).append(f"\n{told}" if told else "", style="dim")
    text, cell = Text(), column.cell(row)
    if value := column.text(row):
        short = column.name == "epochs" and row.undertrained
        rank = cell.rank if cell else ""
        text.append(value, style="red" if short else STYLE[rank])
        text.append(_suffix(cell, column, rows, marks))
    if below := column.below(row):
        text.append("\n")
        text.append(below if width >= WIDE else _bare(below), style="dim")
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
