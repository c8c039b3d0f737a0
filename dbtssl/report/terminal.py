"""The table in the terminal: one rich table a level, intervals below their values."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from rich import box
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from dbtssl.report.cells import (
    METRIC_NAMES,
    clean,
    counts_text,
    epochs_text,
    heading_text,
    interval_text,
    paper_text,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from dbtssl.report.table import Table, TableRow

WIDE = 136  # columns for intervals in brackets and the counts beside each row
MIDDLE = 98  # columns for the epochs and the seed beside the method, not below it
NARROWEST = 80  # below it numbers would be cut, so lines run over instead
TEXT_WIDTH = 150  # of table.txt
LEAST_NAME = 12  # columns for a method's name before it is folded
STYLE = {"best": "bold", "second": "underline", "": ""}
MARK = {"best": "*", "second": "_", "": ""}
MARKS = "In this text file * stands before the best value and _ before the second."


def print_table(table: Table, console: Console | None = None) -> None:
    """Print ``table`` to ``console``, by default standard output, laid out for its width."""
    console = console or Console(highlight=False)
    width = console.width
    if width < NARROWEST:
        console.width = NARROWEST
    console.print(renderable(table, console.width))
    if width < NARROWEST:
        console.width = width


def plain_text(table: Table, width: int = TEXT_WIDTH) -> str:
    """The same without colours, for a file; the best is written ``*84.2`` and the second ``_84.2``."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, color_system=None, force_terminal=False, legacy_windows=False
    )
    console.print(renderable(table, width, marks=True))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def renderable(table: Table, width: int, *, marks: bool = False) -> RenderableType:
    """What rich prints for ``width`` columns; ``marks`` writes the ranks as characters."""
    parts: list[RenderableType] = [Text(clean(table.title), style="bold"), Text()]
    for rows in table.groups().values():
        shared = next((row for row in rows if row.n_pos is not None), rows[0])
        parts += [Text(heading_text(shared)), _level(table, rows, width, marks), Text()]
    notes = RichTable.grid(padding=(0, 1))
    for note in (*table.notes, *([MARKS] if marks else [])):
        notes.add_row("•", Text(clean(note)), style="dim")
    return Group(*parts, notes)


class _Column(NamedTuple):
    header: str
    justify: Literal["left", "right"]
    cell: Callable[[TableRow], Text]


def _level(table: Table, rows: tuple[TableRow, ...], width: int, marks: bool) -> RichTable:
    """One group of rows, references below a rule."""
    paper = any(paper_text(row) for row in rows)
    columns = _columns(table.metrics, width, marks, paper)
    out = RichTable(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for column in columns:
        fixed = column.justify == "right"
        out.add_column(
            column.header,
            justify=column.justify,
            no_wrap=fixed,
            overflow="fold",
            min_width=None if fixed else LEAST_NAME,
        )
    methods = sum(row.kind == "method" for row in rows)
    for i, row in enumerate(rows, start=1):
        out.add_row(
            *(column.cell(row) for column in columns),
            style="" if i <= methods else "dim",
            end_section=i == methods,
        )
    return out


def _columns(metrics: tuple[str, ...], width: int, marks: bool, paper: bool) -> list[_Column]:
    """What fits into ``width``: the counts go first, then the brackets, then the columns of the run and the paper."""
    wide, middle = width >= WIDE, width >= MIDDLE
    columns = [_Column("method", "left", _method if middle else _method_and_run)]
    if middle:
        columns.append(_Column("epochs\nseed", "right", _run))
    columns += [
        _Column(METRIC_NAMES[m], "right", partial(_metric, metric=m, brackets=wide, marks=marks))
        for m in metrics
    ]
    if wide:
        columns.append(_Column("pos / neg\n(patients)", "right", _counts))
    if wide or (middle and paper):
        columns.append(_Column("paper\nAUC", "right", lambda row: Text(paper_text(row))))
    return columns


def _method(row: TableRow) -> Text:
    below = ", ".join(clean(part) for part in (row.backbone, row.finetuner) if part)
    return Text(clean(row.method)).append(f"\n{below}" if below else "", style="dim")


def _run(row: TableRow) -> Text:
    text = Text().append(epochs_text(row), style="red" if row.undertrained else "")
    return text if row.seed is None else text.append(f"\n{row.seed}", style="dim")


def _method_and_run(row: TableRow) -> Text:
    text = _method(row)
    if epochs := epochs_text(row):
        text.append(f"\n{epochs} epochs", style="red" if row.undertrained else "dim")
    if row.seed is not None:
        text.append(f"\nseed {row.seed}", style="dim")
    if paper := paper_text(row):
        text.append(f"\npaper {paper}", style="dim")
    return text


def _counts(row: TableRow) -> Text:
    return Text(counts_text(row).replace(" (", "\n("))


def _metric(row: TableRow, *, metric: str, brackets: bool, marks: bool) -> Text:
    cell = row.cells[metric]
    text = Text()
    if value := value_text(metric, cell.value):
        text.append((MARK[cell.rank] if marks else "") + value, style=STYLE[cell.rank])
    if interval := interval_text(metric, cell.value):
        text.append("\n")
        text.append(interval if brackets else interval[1:-1].replace(", ", "-"), style="dim")
    return text
