"""The lines of a table as the page's template writes them: texts, sorting keys and classes; no markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtssl.evaluation.localisation.detection import PRIMARY
from dbtssl.evaluation.values import Value
from dbtssl.report.audit_report import sentence
from dbtssl.report.notes import with_hint
from dbtssl.report.query import ON_SCREEN
from dbtssl.report.row_differences import unlike_words
from dbtssl.report.table_cells import (
    clean,
    heading_text,
    interval_text,
    name_text,
    p_text,
    value_text,
)
from dbtssl.report.table_columns import DELTA, METHOD, own, shared, shown_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbtssl.audit.confounders import Finding
    from dbtssl.report.html.content import MethodRuns
    from dbtssl.report.table_columns import Column
    from dbtssl.report.table_model import Table, TableRow


@dataclass(frozen=True)
class HtmlCell:
    """``text`` with a smaller line ``below``; ``key`` sorts (empty: last), ``title`` is shown on hovering."""

    text: str = ""
    below: str = ""
    key: str = ""
    classes: str = ""
    title: str = ""


@dataclass(frozen=True)
class HtmlColumn:
    """The heading of a column; words stand left, numbers right."""

    label: str
    meaning: str
    numeric: bool


@dataclass(frozen=True)
class HtmlRow:
    """One line; ``colour`` is the number of the method's colour, None for a reference."""

    cells: tuple[HtmlCell, ...]
    classes: str
    colour: int | None


@dataclass(frozen=True)
class HtmlTable:
    """One group of rows that may be ranked together, with what all of them share; ``main`` ones stand first."""

    ident: str
    main: bool
    heading: str
    common: str
    columns: tuple[HtmlColumn, ...]
    rows: tuple[HtmlRow, ...]


def html_tables(table: Table, colours: Mapping[str, int]) -> tuple[HtmlTable, ...]:
    """One table for each group of rows."""
    out = []
    for number, rows in enumerate(table.groups().values()):
        columns = shown_columns(table, rows)
        first = next((row for row in rows if row.n_pos is not None), rows[0])
        out.append(
            HtmlTable(
                ident=f"table-{number}",
                main=first.level in ON_SCREEN and not first.subgroup,
                heading=heading_text(first),
                common=", ".join(shared(rows)),
                columns=tuple(HtmlColumn(c.label, c.meaning, c.numeric) for c in columns),
                rows=tuple(_row(columns, row, rows, colours) for row in rows),
            )
        )
    return tuple(out)


def _row(
    columns: Sequence[Column],
    row: TableRow,
    rows: Sequence[TableRow],
    colours: Mapping[str, int],
) -> HtmlRow:
    states = (("single", row.single), ("mean", bool(row.seeds)), ("failed", bool(row.failure)))
    classes = " ".join([row.kind, *(name for name, holds in states if holds)])
    colour = colours.get(row.method) if row.kind == "method" else None
    return HtmlRow(tuple(_cell(column, row, rows) for column in columns), classes, colour)


def _cell(column: Column, row: TableRow, rows: Sequence[TableRow]) -> HtmlCell:
    if column is METHOD:
        details, name = own(row, rows), name_text(row)
        text, below = (details, "") if row.single else (name, details)
        said = "; ".join([with_hint(row.failure, row.hint), *row.warnings])
        return HtmlCell(text, below, key=clean(row.method).lower(), title=clean(said.strip("; ")))
    cell, key = column.cell(row), column.key(row)
    classes, title = "", ""
    if cell is not None:
        classes = " ".join(filter(None, (cell.rank, "tied" if cell.tied else "")))
        title = "cannot be distinguished from the best" if cell.tied else cell.value.reason
    elif column.name == "epochs" and row.undertrained:
        classes, title = "short", "fewer epochs than the method's own schedule"
    elif column.name == "paper":
        title = row.paper_source
    elif column.name.startswith(DELTA):
        d = row.differences.get(column.name.removeprefix(DELTA))
        if d is not None:
            tested = f"p {p_text(d.p_holm)}, Holm-corrected; {d.test}" if d.p_holm else d.reason
            other = unlike_words(row.unlike)
            title = f"not of the method alone: {other}" if other else tested
    return HtmlCell(
        column.text(row),
        column.below(row),
        key="" if key is None else f"{key:.9g}" if isinstance(key, float) else f"{key}",
        classes=classes if column.numeric else f"words {classes}".strip(),
        title=clean(title),
    )


def place_rows(methods: Sequence[MethodRuns]) -> list[HtmlRow]:
    """Where each seed looked: slices and patches at lesions with what chance would give, and the detection metric."""
    out = []
    for colour, method in enumerate(methods):
        for seed in method.seeds:
            found = seed.looked
            if found is None:
                continue
            chances = (found.slice_chance, found.patch_chance)
            values = (found.slice_hit, found.patch_hit, found.detection.get(PRIMARY, Value()))
            cells = [HtmlCell(clean(method.name), f"seed {seed.seed}", key=clean(method.name))]
            for value, chance in zip(values, (*chances, None), strict=True):
                below = [interval_text("auc", value)]
                if chance is not None and value.value is not None:
                    below.append(f"chance {100 * chance:.1f}")
                cells.append(
                    HtmlCell(
                        value_text("auc", value),
                        " ".join(filter(None, below)),
                        key="" if value.value is None else f"{value.value:.9g}",
                        title=clean(value.reason),
                    )
                )
            out.append(HtmlRow(tuple(cells), "", colour))
    return out


def audit_rows(findings: Sequence[Finding]) -> list[HtmlRow]:
    """The findings of an audit: feature, AUC with interval, what counts as a sign, in words."""
    out = []
    for f in findings:
        key = "" if f.auc.value is None else f"{f.auc.value:.9g}"
        cells = (
            HtmlCell(clean(f.feature), key=clean(f.feature)),
            HtmlCell(value_text("auc", f.auc), interval_text("auc", f.auc), key=key),
            HtmlCell(clean(f.score), key=clean(f.score), classes="words"),
            HtmlCell(clean(sentence(f)), classes="words"),
        )
        out.append(HtmlRow(cells, "found" if f.excludes_chance else "", None))
    return out
